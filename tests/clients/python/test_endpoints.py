"""The official OpenAI SDK for Python against a running gateway: what the demo provider does not do, in front of a scripted upstream."""

import io
import json
import time
import unittest

import openai
from openai import OpenAI

from scripted import OPENAI_KEY, PIXEL, Scripted
from system import CLIENT_KEY, GATEWAY, call, in_force, mask

OWNER = {"owner": "endpoints"}
CLIENT = OpenAI(base_url=f"{GATEWAY}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
# Files belong to an account, so that their first call says which; from then on the id does.
SCRIPTED = {"x-signalbox-provider": "scripted"}
HELLO = [{"role": "user", "content": "hello there"}]


class Endpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scripted = cls.enterClassContext(Scripted())
        applied = call("ConfigService/ApplyConfig", {"ownerLabels": OWNER, "config": cls.scripted.configuration()})
        in_force(applied["revision"])

    @classmethod
    def tearDownClass(cls):
        call("ConfigService/ApplyConfig", {"ownerLabels": OWNER, "config": {}, "mode": "MODE_PRUNE", "maxDeletes": 10})

    def asked(self):
        """The last request as it arrived upstream: method, path, header names in lower case, body."""
        method, path, headers, body = self.scripted.asked[-1]
        return method, path, {name.lower(): value for name, value in headers.items()}, body

    def stream(self, model="scripted/m", **more):
        return CLIENT.chat.completions.create(model=model, messages=HELLO, stream=True, **more)


class Files(Endpoints):
    def test_a_file_stays_with_the_account_that_has_it(self):
        made = CLIENT.files.create(file=("input.jsonl", b'{"custom_id": "1"}\n'), purpose="batch", extra_headers=SCRIPTED)
        self.assertEqual((made.id.split("~")[1], made.filename), ("scripted", "input.jsonl"))
        self.assertEqual(self.asked()[2]["authorization"], f"Bearer {OPENAI_KEY}")
        self.assertIn(made.id, [file.id for file in CLIENT.files.list(extra_headers=SCRIPTED)])
        self.assertEqual(CLIENT.files.retrieve(made.id).id, made.id)
        self.assertEqual(self.asked()[1], f"/v1/files/{made.id.split('~')[0]}")
        self.assertEqual(CLIENT.files.content(made.id).read(), b'{"custom_id": "1"}\n')

        batch = CLIENT.batches.create(input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h")
        self.assertEqual((batch.id, batch.input_file_id), ("batch-1~scripted", made.id))
        self.assertEqual(json.loads(self.asked()[3])["input_file_id"], made.id.split("~")[0])
        self.assertEqual(CLIENT.batches.retrieve(batch.id).status, "completed")
        self.assertEqual(CLIENT.batches.cancel(batch.id).status, "cancelling")
        self.assertEqual([listed.id for listed in CLIENT.batches.list(extra_headers=SCRIPTED)], [batch.id])

        self.assertTrue(CLIENT.files.delete(made.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            CLIENT.files.retrieve(made.id)

    def test_a_provider_that_nobody_configured_is_not_found(self):
        with self.assertRaises(openai.NotFoundError):
            CLIENT.files.retrieve("file-1~nobody")


class Responses(Endpoints):
    def test_a_stored_response_is_found_continued_and_deleted(self):
        made = CLIENT.responses.create(model="scripted/m", input="hello")
        self.assertEqual((made.id, made.output_text), ("resp_1~scripted", "as scripted"))
        self.assertEqual(CLIENT.responses.retrieve(made.id).id, made.id)
        next_one = CLIENT.responses.create(model="scripted/m", input="more", previous_response_id=made.id)
        self.assertEqual(json.loads(self.asked()[3])["previous_response_id"], "resp_1")
        self.assertEqual(next_one.output_text, "as scripted")
        CLIENT.responses.delete(made.id)
        self.assertEqual(self.asked()[:2], ("DELETE", "/v1/responses/resp_1"))


class Multipart(Endpoints):
    def test_audio_is_transcribed(self):
        audio = bytes(range(256)) * 4096
        answer = CLIENT.audio.transcriptions.create(model="scripted/whisper", file=("speech.wav", io.BytesIO(audio)))
        self.assertEqual(answer.text, f"{len(audio)} bytes of speech.wav for whisper")

    def test_an_image_is_edited(self):
        answer = CLIENT.images.edit(model="scripted/painter", image=("pixel.png", PIXEL), prompt="brighter")
        self.assertTrue(answer.data[0].b64_json)
        self.assertIn(PIXEL, self.asked()[3])


class Streams(Endpoints):
    def test_usage_comes_when_asked_for_and_is_metered_either_way(self):
        for asked in [True, False]:
            more = {"stream_options": {"include_usage": True}} if asked else {}
            chunks = list(self.stream(**more))
            self.assertEqual([chunk.usage.total_tokens for chunk in chunks if chunk.usage], [5] if asked else [])
            self.assertEqual(bool([chunk for chunk in chunks if not chunk.choices]), asked)
            self.assertTrue(json.loads(self.asked()[3])["stream_options"]["include_usage"])

    def test_signs_of_life_in_a_silence_are_no_chunks(self):
        applied = call("SettingsService/UpdateSettings", {"settings": {"streamKeepalive": "0.5s"}, "updateMask": mask("stream_keepalive")})
        self.addCleanup(lambda: call("SettingsService/UpdateSettings", {"settings": {}, "updateMask": mask("stream_keepalive")}))
        in_force(applied["revision"])
        with CLIENT.chat.completions.with_streaming_response.create(model="scripted/pauses", messages=HELLO, stream=True) as raw:
            self.assertIn(": ping", list(raw.iter_lines()))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in self.stream("scripted/pauses"))
        self.assertEqual(text, "as scripted")

    def test_leaving_a_stream_frees_the_upstream(self):
        self.scripted.left.clear()
        stream = self.stream("scripted/endless")
        next(iter(stream))
        stream.close()
        self.assertTrue(self.scripted.left.wait(5), "the upstream went on")


class Retries(Endpoints):
    def failure(self, model):
        """How often the SDK tried again, and what it was told at the end."""
        client = OpenAI(base_url=f"{GATEWAY}/v1", api_key=CLIENT_KEY, max_retries=2, timeout=20)
        with self.assertRaises(openai.APIStatusError) as caught:
            client.chat.completions.create(model=model, messages=HELLO)
        return int(caught.exception.request.headers["x-stainless-retry-count"]), caught.exception.response.headers

    def another_account(self, name):
        """A provider whose key cools for nobody else."""
        owner, config = {"owner": name}, self.scripted.configuration(name, f"{name}-claude")
        self.addCleanup(lambda: call("ConfigService/ApplyConfig", {"ownerLabels": owner, "config": {}, "mode": "MODE_PRUNE", "maxDeletes": 10}))
        in_force(call("ConfigService/ApplyConfig", {"ownerLabels": owner, "config": config})["revision"])

    def test_what_the_gateway_has_tried_again_the_sdk_does_not(self):
        retries, headers = self.failure("scripted/fails")
        self.assertEqual((retries, headers["x-should-retry"], headers["x-signalbox-attempts"]), (0, "false", "3"))

    def test_a_wait_of_a_day_is_not_waited_for(self):
        self.another_account("slow-account")
        retries, headers = self.failure("slow-account/limited-86400")
        self.assertEqual((retries, headers["x-should-retry"]), (0, "false"))

    def test_a_short_wait_is_waited_for(self):
        self.another_account("busy-account")
        begun = time.monotonic()
        retries, headers = self.failure("busy-account/limited-1")
        self.assertEqual((retries, headers["retry-after"]), (2, "1"))
        self.assertIn("retry-after-ms", headers)
        self.assertGreater(time.monotonic() - begun, 1)


class Limits(Endpoints):
    def test_what_is_left_of_a_keys_limit_is_told_in_openais_headers(self):
        made = call("ClientKeyService/CreateClientKey", {"client_key_id": "sdk-limited", "client_key": {"limits": {"requestsPerMinute": 2}}})
        self.addCleanup(lambda: call("ClientKeyService/DeleteClientKey", {"name": "clientKeys/sdk-limited"}))
        in_force(made["revision"])
        client = OpenAI(base_url=f"{GATEWAY}/v1", api_key=made["secret"], max_retries=0)
        ask = client.chat.completions.with_raw_response.create
        headers = ask(model="scripted/m", messages=HELLO).headers
        self.assertEqual((headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]), ("2", "1"))
        ask(model="scripted/m", messages=HELLO)
        with self.assertRaises(openai.RateLimitError) as caught:
            ask(model="scripted/m", messages=HELLO)
        self.assertEqual((caught.exception.code, caught.exception.response.headers["x-ratelimit-remaining-requests"]), ("rate_limit_exceeded", "0"))


if __name__ == "__main__":
    unittest.main()
