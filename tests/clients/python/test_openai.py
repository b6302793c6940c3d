"""The official OpenAI SDK for Python against a running gateway."""

import json
import unittest

import openai
from openai import OpenAI

from system import CLIENT_KEY, GATEWAY, call, in_force

CLIENT = OpenAI(base_url=f"{GATEWAY}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20)
HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Models(unittest.TestCase):
    def test_models_are_listed_and_found_by_their_names(self):
        ids = [model.id for model in CLIENT.models.list()]
        self.assertIn("demo/echo", ids)
        self.assertIn("demo/embed", ids)
        self.assertEqual(CLIENT.models.retrieve("demo/echo").id, "demo/echo")


class Chat(unittest.TestCase):
    def test_a_plain_chat_answers_with_usage(self):
        answer = CLIENT.chat.completions.create(model="demo/echo", messages=HELLO)
        self.assertIn("hello there", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertGreater(answer.usage.total_tokens, 0)

    def test_a_streamed_chat_says_the_same_piece_by_piece(self):
        stream = CLIENT.chat.completions.create(model="demo/echo", messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        self.assertGreater(len(pieces), 1)
        self.assertIn("hello there", "".join(pieces))

    def test_a_streamed_chat_reports_usage_when_asked_and_only_then(self):
        def usages(**extra):
            stream = CLIENT.chat.completions.create(model="demo/echo", messages=HELLO, stream=True, **extra)
            return [chunk.usage for chunk in stream if chunk.usage]

        self.assertEqual(len(usages(stream_options={"include_usage": True})), 1)
        self.assertEqual(usages(), [])

    def test_a_tool_is_called(self):
        answer = CLIENT.chat.completions.create(
            model="demo/echo",
            messages=[{"role": "user", "content": "call weather"}],
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )
        made = answer.choices[0].message.tool_calls[0].function
        self.assertEqual(made.name, "weather")
        json.loads(made.arguments)

    def test_image_parts_arrive_unharmed(self):
        parts = [
            {"type": "text", "text": "what is this"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]
        answer = CLIENT.chat.completions.create(model="demo/echo", messages=[{"role": "user", "content": parts}])
        self.assertIn("[image]", answer.choices[0].message.content)

    def test_the_answer_says_what_happened(self):
        raw = CLIENT.chat.completions.with_raw_response.create(model="demo/echo", messages=HELLO)
        self.assertEqual(raw.headers["x-signalbox-provider"], "demo")
        self.assertEqual(raw.headers["x-signalbox-attempts"], "1")
        self.assertGreater(int(raw.headers["x-signalbox-revision"]), 0)
        self.assertTrue(raw.headers["x-request-id"])

    def test_the_async_client_works_too(self):
        import asyncio

        async def ask():
            async with openai.AsyncOpenAI(base_url=f"{GATEWAY}/v1", api_key=CLIENT_KEY, max_retries=0) as client:
                stream = await client.chat.completions.create(model="demo/echo", messages=HELLO, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        self.assertIn("hello there", asyncio.run(ask()))


class OtherEndpoints(unittest.TestCase):
    def test_embeddings_are_the_same_in_base64_and_float(self):
        # Without an encoding the SDK asks for base64 and decodes it.
        decoded = CLIENT.embeddings.create(model="demo/embed", input=["a", "b"])
        floats = CLIENT.embeddings.create(model="demo/embed", input=["a", "b"], encoding_format="float")
        self.assertEqual(len(decoded.data), 2)
        for one, other in zip(decoded.data, floats.data):
            self.assertEqual(len(one.embedding), len(other.embedding))
            for x, y in zip(one.embedding, other.embedding):
                self.assertAlmostEqual(x, y, places=5)

    def test_completions_and_responses_answer(self):
        self.assertIn("hello", CLIENT.completions.create(model="demo/echo", prompt="hello").choices[0].text)
        self.assertIn("hello", CLIENT.responses.create(model="demo/echo", input="hello").output_text)


class Errors(unittest.TestCase):
    def test_a_bad_key_is_an_authentication_error(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            OpenAI(base_url=f"{GATEWAY}/v1", api_key="sb_wrong", max_retries=0).models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        self.assertNotIn("sb_wrong", str(caught.exception))

    def test_an_unknown_model_is_a_not_found_error(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            CLIENT.chat.completions.create(model="nobody/knows", messages=HELLO)
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertTrue(caught.exception.request_id)

    def test_an_upstream_that_fails_is_an_internal_server_error(self):
        with self.assertRaises(openai.InternalServerError) as caught:
            CLIENT.chat.completions.create(model="demo/fault-500", messages=HELLO)
        self.assertEqual(caught.exception.code, "upstream_error")

    def test_a_stream_that_breaks_is_an_error_and_not_an_end(self):
        with self.assertRaises(openai.APIError):
            for _ in CLIENT.chat.completions.create(model="demo/fault-cut-before-finish", messages=HELLO, stream=True):
                pass


class Redirects(unittest.TestCase):
    def test_a_redirect_made_with_grpcurl_is_a_model_at_once(self):
        made = call(
            "RedirectService/CreateRedirect",
            {
                "redirect_id": "sdk-fast",
                "redirect": {
                    "from": "sdk-fast",
                    "targets": [
                        {"provider": "demo", "model": "fault-503", "priority": 1},
                        {"provider": "demo", "model": "echo"},
                    ],
                },
            },
        )
        self.addCleanup(lambda: call("RedirectService/DeleteRedirect", {"name": "redirects/sdk-fast"}))
        in_force(made["revision"])
        raw = CLIENT.chat.completions.with_raw_response.create(model="sdk-fast", messages=HELLO)
        answer = raw.parse()
        self.assertEqual(answer.model, "sdk-fast")
        self.assertIn("hello there", answer.choices[0].message.content)
        self.assertEqual(raw.headers["x-signalbox-attempts"], "2")
        self.assertIn("sdk-fast", [model.id for model in CLIENT.models.list()])
        stream = CLIENT.chat.completions.create(model="sdk-fast", messages=HELLO, stream=True)
        self.assertEqual({chunk.model for chunk in stream}, {"sdk-fast"})


if __name__ == "__main__":
    unittest.main()
