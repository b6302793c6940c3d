//! The rules of the AIPs that this API keeps, one file each, over every kind of resource: calls are JSON by the schemas, so that what
//! a new kind has to do to keep them is to be in the table. AIP-211, who may do what, is in `roles`.

use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use signalbox_proto::DESCRIPTORS;
use tonic::{
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::*;

mod deletes;
mod dry_runs;
mod errors;
mod etags;
mod fields;
mod names;
mod pages;
mod request_ids;
mod revisions;
mod standard;

/// A kind of resource, and what there is to say of one.
struct KindOf {
    /// Its message, such as `ClientKey`; `Service` after it is its service.
    message: &'static str,
    /// What requests call the field that carries one.
    field: &'static str,
    /// The last part of its collection.
    collection: &'static str,
    /// What it belongs to; empty = nothing.
    parent: &'static str,
    /// One that is as it should be.
    sound: fn() -> Value,
    /// One that breaks a rule.
    unsound: fn() -> Value,
}

/// Every kind that has the five verbs.
const KINDS: [KindOf; 5] = [
    KindOf {
        message: "Provider",
        field: "provider",
        collection: "providers",
        parent: "",
        sound: || json!({"dialect": "DIALECT_OPENAI", "baseUrl": "https://upstream.test/v1"}),
        unsound: || json!({"dialect": "DIALECT_OPENAI", "baseUrl": "no url"}),
    },
    KindOf {
        message: "Credential",
        field: "credential",
        collection: "credentials",
        parent: "providers/base",
        sound: || json!({"secret": "sk-upstream"}),
        unsound: || json!({"secretRef": {"env": "="}}),
    },
    KindOf {
        message: "ClientKey",
        field: "clientKey",
        collection: "clientKeys",
        parent: "",
        sound: || json!({"importSecret": uuid::Uuid::new_v4().to_string()}),
        unsound: || json!({"importSecret": "not visible ASCII: ü"}),
    },
    KindOf {
        message: "Redirect",
        field: "redirect",
        collection: "redirects",
        parent: "",
        sound: || json!({"from": uuid::Uuid::new_v4().to_string(), "targets": [{"provider": "base", "model": "m"}]}),
        unsound: || json!({"from": "alias", "targets": []}),
    },
    KindOf {
        message: "Route",
        field: "route",
        collection: "routes",
        parent: "",
        sound: || json!({"targetUrl": "https://docs.test"}),
        unsound: || json!({"targetUrl": "no url"}),
    },
];

impl KindOf {
    fn name(&self, id: &str) -> String {
        match self.parent {
            "" => format!("{}/{id}", self.collection),
            parent => format!("{parent}/{}/{id}", self.collection),
        }
    }

    /// `Create`, `Update`, `Get` or `Delete`.
    fn method(&self, verb: &str) -> String {
        format!("{0}Service/{verb}{0}", self.message)
    }

    fn list(&self) -> String {
        format!("{0}Service/List{0}s", self.message)
    }

    fn create(&self, id: &str, resource: Value) -> Value {
        let mut request = json!({format!("{}Id", self.field): id, self.field: resource});
        if !self.parent.is_empty() {
            merge(&mut request, json!({"parent": self.parent}));
        }
        request
    }

    /// An update of the display name.
    fn rename(&self, id: &str, display_name: &str) -> Value {
        json!({self.field: {"name": self.name(id), "displayName": display_name}, "updateMask": "displayName"})
    }

    async fn made(&self, app: &Running, id: &str) -> Value {
        app.call(&self.method("Create"), self.create(id, (self.sound)())).await.unwrap()
    }
}

/// Lays one object over another, objects in it field by field.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn with(mut request: Value, more: Value) -> Value {
    merge(&mut request, more);
    request
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Every method of the admin API.
fn methods() -> Vec<MethodDescriptor> {
    let services = DESCRIPTORS.services().filter(|service| service.package_name() == "signalbox.admin.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

impl Running {
    /// With a provider that others refer to.
    async fn with_base() -> Self {
        let app = Self::start().await;
        app.make_provider("base").await;
        app
    }

    /// Makes a call such as `ProviderService/GetProvider`, request and answer as JSON.
    async fn call(&self, method: &str, request: Value) -> Result<Value, Status> {
        let (service, name) = method.split_once('/').unwrap();
        let service = DESCRIPTORS.get_service_by_name(&format!("signalbox.admin.v1.{service}")).unwrap();
        let method = service.methods().find(|method| method.name() == name).unwrap();
        let message = DynamicMessage::deserialize(method.input(), request).unwrap();
        let answer = self.call_by(&method, &message).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    async fn call_by(&self, method: &MethodDescriptor, message: &DynamicMessage) -> Result<DynamicMessage, Status> {
        let mut client = Grpc::new(self.channel());
        client.ready().await.unwrap();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
        let mut request = Request::new(prost::Message::encode_to_vec(message));
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let answer = client.unary(request, path, Plain).await?.into_inner();
        Ok(DynamicMessage::decode(method.output(), answer.as_slice()).unwrap())
    }
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }
}
