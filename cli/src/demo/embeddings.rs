//! `POST /v1/embeddings`: unit vectors that depend on the text alone and mean nothing.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    answer::{Answer, read},
    model::Model,
    refusal::Refusal,
    text::tokens,
};

const DEFAULT_DIMENSIONS: usize = 64;
const MAX_DIMENSIONS: usize = 4096;
const MAX_INPUTS: usize = 2048;

#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    input: Input,
    encoding_format: Option<Encoding>,
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Float,
    Base64,
}

pub(super) fn answer(model: Model, body: &[u8]) -> Result<Answer, Refusal> {
    model.must_not_be(Model::Echo)?;
    let request: Request = read(body)?;
    let dimensions = request.dimensions.unwrap_or(DEFAULT_DIMENSIONS);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(Refusal::Invalid { param: "dimensions", rule: "must be from 1 to 4096" });
    }
    let texts = request.input.into_texts();
    if texts.is_empty() || texts.len() > MAX_INPUTS || texts.iter().any(String::is_empty) {
        return Err(Refusal::Invalid { param: "input", rule: "must be 1 to 2048 inputs, none of them empty" });
    }
    let encoding = request.encoding_format.unwrap_or(Encoding::Float);
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            json!({ "object": "embedding", "index": index, "embedding": encoding.encode(&vector(text, dimensions)) })
        })
        .collect();
    let prompt: usize = texts.iter().map(|text| tokens(text)).sum();
    Ok(Answer::Whole(json!({
        "object": "list",
        "data": data,
        "model": request.model,
        "usage": { "prompt_tokens": prompt, "total_tokens": prompt },
    })))
}

impl Input {
    /// Each input as a text; tokens stand as their numbers.
    fn into_texts(self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text],
            Self::Texts(texts) => texts,
            Self::Tokens(tokens) => vec![numbers(&tokens)],
            Self::TokenLists(lists) => lists.iter().map(|tokens| numbers(tokens)).collect(),
        }
    }
}

fn numbers(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

impl Encoding {
    fn encode(self, vector: &[f32]) -> Value {
        match self {
            Self::Float => json!(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                json!(BASE64_STANDARD.encode(bytes))
            }
        }
    }
}

/// A vector of length 1. One of fewer dimensions is the beginning of the longer one, scaled.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let blocks =
        (0_u32..).flat_map(|block| Sha256::new().chain_update(text).chain_update(block.to_le_bytes()).finalize());
    let raw: Vec<f32> = blocks.take(dimensions).map(|byte| f32::from(byte) - 127.5).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.into_iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_depends_on_the_text_alone_and_has_length_one() {
        let vector = super::vector("a text", 64);
        assert_eq!(vector, super::vector("a text", 64));
        assert_ne!(vector, super::vector("another", 64));
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }

    #[test]
    fn base64_carries_the_same_numbers_as_float() {
        let vector = super::vector("a text", 3);
        let Value::String(text) = Encoding::Base64.encode(&vector) else { panic!("a string") };
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let decoded: Vec<f32> =
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(decoded, vector);
        assert_eq!(Encoding::Float.encode(&vector), json!(vector));
    }
}
