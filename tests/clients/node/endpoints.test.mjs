// The official OpenAI SDK for Node against a running gateway: what the demo provider does not do, in front of the scripted upstream
// that run.sh configures as the provider `node`.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const gateway = `${process.env.SIGNALBOX_URL}/v1`;
const client = new OpenAI({ baseURL: gateway, apiKey: process.env.SIGNALBOX_CLIENT_KEY, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "hello there" }];
const headers = { "x-signalbox-provider": "node" };

test("files and batches stay with the account that has them", async () => {
  const made = await client.files.create({ file: await toFile(Buffer.from("{}\n"), "input.jsonl"), purpose: "batch" }, { headers });
  assert.match(made.id, /~node$/);
  assert.equal((await client.files.retrieve(made.id)).id, made.id);
  assert.equal(await (await client.files.content(made.id)).text(), "{}\n");
  const batch = await client.batches.create({ input_file_id: made.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  assert.equal(batch.input_file_id, made.id);
  assert.equal((await client.batches.retrieve(batch.id)).status, "completed");
  assert.equal((await client.files.delete(made.id)).deleted, true);
});

test("stored responses are found and continued", async () => {
  const made = await client.responses.create({ model: "node/m", input: "hello" });
  assert.equal((await client.responses.retrieve(made.id)).id, made.id);
  const next = await client.responses.create({ model: "node/m", input: "more", previous_response_id: made.id });
  assert.equal(next.output_text, "as scripted");
});

test("multipart uploads arrive whole", async () => {
  const speech = await toFile(Buffer.alloc(1_000_000, 7), "speech.wav");
  const heard = await client.audio.transcriptions.create({ model: "node/whisper", file: speech });
  assert.equal(heard.text, "1000000 bytes of speech.wav for whisper");
  const image = await toFile(Buffer.from("pixels"), "pixel.png", { type: "image/png" });
  const edited = await client.images.edit({ model: "node/painter", image, prompt: "brighter" });
  assert.equal(Buffer.from(edited.data[0].b64_json, "base64").toString(), "pixels");
});

test("usage comes only when asked for", async () => {
  for (const asked of [true, false]) {
    const options = asked ? { stream_options: { include_usage: true } } : {};
    const totals = [];
    for await (const chunk of await client.chat.completions.create({ model: "node/m", messages, stream: true, ...options })) {
      if (chunk.usage) totals.push(chunk.usage.total_tokens);
    }
    assert.deepEqual(totals, asked ? [5] : []);
  }
});

test("signs of life in a silence are no chunks", async () => {
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model: "node/pauses", messages, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  assert.equal(text, "as scripted");
});

test("what the gateway has tried again the SDK does not, and a wait of a day is not waited for", async () => {
  const patient = new OpenAI({ baseURL: gateway, apiKey: process.env.SIGNALBOX_CLIENT_KEY, maxRetries: 2, timeout: 20_000 });
  const calls = async (model) => {
    let calls = 0;
    const counting = patient.withOptions({ fetch: (...request) => ((calls += 1), fetch(...request)) });
    await assert.rejects(counting.chat.completions.create({ model, messages }));
    return calls;
  };
  assert.equal(await calls("node/fails"), 1);
  assert.equal(await calls("node-limited/limited-86400"), 1);
});
