"""The gateway in front of upstreams that nobody here wrote: aimock for chat, and a real embedding model."""

import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from openai import OpenAI

from system import CLIENT_KEY, GATEWAY, call, eventually, in_force

HERE = pathlib.Path(__file__).parent
CLIENT = OpenAI(base_url=f"{GATEWAY}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=60)
OWNER = {"owner": "real-upstreams"}
FIXTURES = """{"fixtures": [
  {"match": {"userMessage": "capital of France"}, "response": {"content": "Paris, on the Seine."}},
  {"match": {"userMessage": "weather"}, "response": {"toolCalls": [{"name": "weather", "arguments": {"city": "Paris"}}]}}
]}"""


class RealUpstreams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        fixtures = pathlib.Path(cls.folder.name) / "fixtures.json"
        fixtures.write_text(FIXTURES)
        aimock = pathlib.Path(os.environ["SIGNALBOX_NODE_MODULES"]) / "@copilotkit/aimock/dist/cli.js"
        cls.minilm = cls.start([sys.executable, str(HERE / "minilm_server.py")])
        cls.aimock = cls.start(["node", str(aimock), "-p", "0", "-f", str(fixtures)])
        minilm_url = cls.minilm.stdout.readline().strip()
        aimock_url = eventually(lambda: cls.url_in(cls.aimock.stdout.readline()), 20)
        applied = call(
            "ConfigService/ApplyConfig",
            {
                "ownerLabels": OWNER,
                "config": {
                    "providers": [
                        {"name": "providers/aimock", "dialect": "DIALECT_OPENAI", "baseUrl": f"{aimock_url}/v1", "models": ["gpt-4o"]},
                        {"name": "providers/minilm", "dialect": "DIALECT_OPENAI", "baseUrl": minilm_url, "models": ["all-MiniLM-L6-v2"]},
                    ],
                    "credentials": [
                        {"name": "providers/aimock/credentials/main", "secret": "mock"},
                        {"name": "providers/minilm/credentials/main", "secret": "minilm-key"},
                    ],
                    "redirects": [{"name": "redirects/smart", "from": "smart", "targets": [{"provider": "aimock", "model": "gpt-4o"}]}],
                },
            },
        )
        in_force(applied["revision"])

    @classmethod
    def tearDownClass(cls):
        call("ConfigService/ApplyConfig", {"ownerLabels": OWNER, "config": {}, "mode": "MODE_PRUNE", "maxDeletes": 10})
        for process in [cls.minilm, cls.aimock]:
            process.terminate()
            process.wait(10)
            process.stdout.close()
        cls.folder.cleanup()

    @staticmethod
    def start(command):
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def url_in(line):
        return next((word.rstrip("/.,") for word in line.split() if word.startswith("http://")), None)

    def ask(self, model, text, **extra):
        return CLIENT.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **extra)

    def test_chat_through_aimock_by_prefix_by_bare_name_and_by_redirect(self):
        for model in ["aimock/gpt-4o", "gpt-4o", "smart"]:
            answer = self.ask(model, "What is the capital of France?")
            self.assertEqual(answer.choices[0].message.content, "Paris, on the Seine.")
        print(f"\nchat, aimock: {answer.choices[0].message.content!r}, model {answer.model!r}")

    def test_a_stream_through_aimock_arrives_whole(self):
        stream = self.ask("smart", "What is the capital of France?", stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, "Paris, on the Seine.")
        self.assertEqual({chunk.model for chunk in chunks}, {"smart"})
        print(f"\nstream, aimock: {len(chunks)} chunks, {text!r}")

    def test_a_tool_call_through_aimock_arrives_unharmed(self):
        tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
        call = self.ask("smart", "How is the weather?", tools=[tool]).choices[0].message.tool_calls[0].function
        self.assertEqual((call.name, call.arguments.replace(" ", "")), ("weather", '{"city":"Paris"}'))

    def test_embeddings_of_a_real_model_keep_their_meaning(self):
        texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The central bank raised interest rates."]
        answer = CLIENT.embeddings.create(model="minilm/all-MiniLM-L6-v2", input=texts)
        floats = CLIENT.embeddings.create(model="all-MiniLM-L6-v2", input=texts, encoding_format="float")
        cat, kitten, bank = (item.embedding for item in answer.data)
        self.assertEqual(len(cat), 384)
        self.assertTrue(all(math.isclose(x, y, abs_tol=1e-6) for x, y in zip(cat, floats.data[0].embedding)))
        dot = lambda a, b: sum(x * y for x, y in zip(a, b))
        print(f"\nembeddings, all-MiniLM-L6-v2: cat~kitten {dot(cat, kitten):.3f}, cat~bank {dot(cat, bank):.3f}")
        self.assertGreater(dot(cat, kitten), 0.5)
        self.assertLess(dot(cat, bank), 0.2)


if __name__ == "__main__":
    unittest.main()
