"""The official Anthropic SDK for Python against a running gateway, in front of a scripted upstream."""

import unittest

import anthropic
from anthropic import Anthropic

from scripted import ANTHROPIC_KEY, Scripted
from system import CLIENT_KEY, GATEWAY, call, in_force

OWNER = {"owner": "anthropic"}
CLIENT = Anthropic(base_url=GATEWAY, api_key=CLIENT_KEY, max_retries=0, timeout=20)
HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = {"name": "weather", "description": "tells the weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scripted = cls.enterClassContext(Scripted())
        applied = call("ConfigService/ApplyConfig", {"ownerLabels": OWNER, "config": cls.scripted.configuration()})
        in_force(applied["revision"])

    @classmethod
    def tearDownClass(cls):
        call("ConfigService/ApplyConfig", {"ownerLabels": OWNER, "config": {}, "mode": "MODE_PRUNE", "maxDeletes": 10})

    def ask(self, model="claude/sonnet", **more):
        return CLIENT.messages.create(model=model, max_tokens=64, messages=HELLO, **more)

    def asked(self):
        """The last request as it arrived upstream, header names in lower case."""
        method, path, headers, body = self.scripted.asked[-1]
        return method, path, {name.lower(): value for name, value in headers.items()}, body

    def test_a_message_is_answered_with_its_usage(self):
        answer = self.ask()
        self.assertEqual((answer.content[0].text, answer.stop_reason, answer.usage.output_tokens), ("as scripted", "end_turn", 2))
        method, path, headers, body = self.asked()
        self.assertEqual((method, path, headers["x-api-key"]), ("POST", "/v1/messages", ANTHROPIC_KEY))
        self.assertEqual(headers["anthropic-version"], CLIENT.default_headers["anthropic-version"])
        self.assertIn(b'"sonnet"', body)
        self.assertNotIn(CLIENT_KEY, str(headers))

    def test_a_message_is_streamed(self):
        with CLIENT.messages.stream(model="claude/sonnet", max_tokens=64, messages=HELLO) as stream:
            self.assertEqual("".join(stream.text_stream), "as scripted")
            self.assertEqual(stream.get_final_message().usage.output_tokens, 2)

    def test_a_tool_is_used(self):
        answer = self.ask(tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"})
        self.assertEqual((answer.stop_reason, answer.content[0].name, answer.content[0].input), ("tool_use", "weather", {"city": "Bern"}))

    def test_tokens_are_counted(self):
        self.assertEqual(CLIENT.messages.count_tokens(model="claude/sonnet", messages=HELLO).input_tokens, 14)
        self.assertEqual(self.asked()[1], "/v1/messages/count_tokens")

    def test_errors_are_of_the_classes_that_the_sdk_knows(self):
        stranger = Anthropic(base_url=GATEWAY, api_key="sb_wrong", max_retries=0)
        with self.assertRaises(anthropic.AuthenticationError) as caught:
            stranger.messages.create(model="claude/sonnet", max_tokens=64, messages=HELLO)
        self.assertEqual(caught.exception.body["error"]["type"], "authentication_error")
        for model, kind, error in [
            ("nobody/knows", anthropic.NotFoundError, "not_found_error"),
            ("claude/fault-404", anthropic.NotFoundError, "not_found_error"),
            ("claude/fault-400", anthropic.BadRequestError, "invalid_request_error"),
            ("claude/fault-500", anthropic.InternalServerError, "api_error"),
        ]:
            with self.subTest(model), self.assertRaises(kind) as caught:
                self.ask(model)
            self.assertEqual((caught.exception.body["type"], caught.exception.body["error"]["type"]), ("error", error))
            self.assertTrue(caught.exception.request_id or caught.exception.response.headers["x-request-id"])

    def test_an_overload_is_an_error_of_the_server(self):
        with self.assertRaises(anthropic.APIStatusError) as caught:
            self.ask("claude/fault-529")
        self.assertGreaterEqual(caught.exception.status_code, 500)
        self.assertIn(caught.exception.body["error"]["type"], ["api_error", "overloaded_error"])

    def test_a_stream_that_breaks_is_an_error_and_not_an_end(self):
        for model in ["claude/breaks", "claude/cut"]:
            with self.subTest(model), self.assertRaises(anthropic.APIStatusError):
                for _ in CLIENT.messages.create(model=model, max_tokens=64, messages=HELLO, stream=True):
                    pass


class RateLimit(unittest.TestCase):
    def test_a_rate_limit_is_told_in_anthropics_words(self):
        with Scripted() as scripted:
            owner = {"owner": "anthropic-limit"}
            config = scripted.configuration("limited-scripted", "limited-claude")
            in_force(call("ConfigService/ApplyConfig", {"ownerLabels": owner, "config": config})["revision"])
            self.addCleanup(lambda: call("ConfigService/ApplyConfig", {"ownerLabels": owner, "config": {}, "mode": "MODE_PRUNE", "maxDeletes": 10}))
            with self.assertRaises(anthropic.RateLimitError) as caught:
                CLIENT.messages.create(model="limited-claude/fault-429", max_tokens=64, messages=HELLO)
        self.assertEqual(caught.exception.body["error"]["type"], "rate_limit_error")
        self.assertTrue(caught.exception.response.headers["retry-after"])


if __name__ == "__main__":
    unittest.main()
