// The official OpenAI SDK for Node against a running gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { AuthenticationError, InternalServerError, NotFoundError } from "openai";

const gateway = `${process.env.SIGNALBOX_URL}/v1`;
const client = new OpenAI({ baseURL: gateway, apiKey: process.env.SIGNALBOX_CLIENT_KEY, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "hello there" }];

test("models are listed", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("demo/echo"), ids.join());
});

test("a plain chat answers with usage", async () => {
  const answer = await client.chat.completions.create({ model: "demo/echo", messages });
  assert.match(answer.choices[0].message.content, /hello there/);
  assert.ok(answer.usage.total_tokens > 0);
});

test("a streamed chat arrives piece by piece, with usage when asked", async () => {
  const stream = await client.chat.completions.create({ model: "demo/echo", messages, stream: true, stream_options: { include_usage: true } });
  let text = "";
  let pieces = 0;
  let usage = null;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) {
      text += chunk.choices[0].delta.content;
      pieces += 1;
    }
    usage ??= chunk.usage;
  }
  assert.match(text, /hello there/);
  assert.ok(pieces > 1);
  assert.ok(usage.total_tokens > 0);
});

test("tools and image parts pass through unharmed", async () => {
  const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
  const called = await client.chat.completions.create({
    model: "demo/echo",
    messages: [{ role: "user", content: "call weather" }],
    tools,
    tool_choice: { type: "function", function: { name: "weather" } },
  });
  assert.equal(called.choices[0].message.tool_calls[0].function.name, "weather");
  const seen = await client.chat.completions.create({
    model: "demo/echo",
    messages: [{ role: "user", content: [{ type: "text", text: "see" }, { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } }] }],
  });
  assert.match(seen.choices[0].message.content, /\[image\]/);
});

test("embeddings decode from base64 to the same floats", async () => {
  const decoded = await client.embeddings.create({ model: "demo/embed", input: "a" });
  const floats = await client.embeddings.create({ model: "demo/embed", input: "a", encoding_format: "float" });
  assert.equal(decoded.data[0].embedding.length, floats.data[0].embedding.length);
  decoded.data[0].embedding.forEach((x, i) => assert.ok(Math.abs(x - floats.data[0].embedding[i]) < 1e-5));
});

test("a bad key, an unknown model and a failing upstream are errors of their own kind", async () => {
  const stranger = new OpenAI({ baseURL: gateway, apiKey: "sb_wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), (error) => error instanceof AuthenticationError && error.code === "invalid_api_key");
  const ask = (model) => client.chat.completions.create({ model, messages });
  await assert.rejects(ask("nobody/knows"), (error) => error instanceof NotFoundError && error.code === "model_not_found" && !!error.requestID);
  await assert.rejects(ask("demo/fault-html-502"), (error) => error instanceof InternalServerError && error.code === "upstream_error");
});

test("a stream that breaks is an error and not an end", async () => {
  const stream = await client.chat.completions.create({ model: "demo/fault-cut-before-finish", messages, stream: true });
  await assert.rejects(async () => {
    for await (const _ of stream);
  });
});

test("a stream that the client leaves ends", async () => {
  const stream = await client.chat.completions.create({ model: "demo/fault-slow", messages, stream: true });
  for await (const _ of stream) break;
  assert.ok(stream.controller.signal.aborted);
});
