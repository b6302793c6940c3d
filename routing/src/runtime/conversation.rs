//! How an upstream that takes one message holds a conversation: addresses, templates, and where in its answers things are. It
//! fills in no template and reads no answer.

use std::sync::Arc;

use http::{HeaderName, Uri};

/// How an upstream that takes one message holds a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Posted to before each chat; `None` = no conversation is made.
    pub create: Option<Create>,
    /// Header templates of the chat call, each name once.
    pub headers: Vec<(HeaderName, Arc<str>)>,
    /// The JSON template of the chat call's body.
    pub chat_body: Arc<str>,
    /// Where the text of a plain answer is, as JSON pointers.
    pub text: Vec<Arc<str>>,
    /// Where an event's piece of the text is.
    pub delta: Vec<Arc<str>>,
    /// Where an event says that the answer is complete.
    pub end: Vec<Arc<str>>,
    /// Where something is that went wrong.
    pub error: Vec<Arc<str>>,
}

/// How a conversation is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Posted to.
    pub url: Uri,
    /// The JSON template of the body.
    pub body: Arc<str>,
    /// Where in the answer the conversation's id is.
    pub id: Vec<Arc<str>>,
}
