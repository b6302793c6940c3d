//! Upstream accounts that the environment speaks of, such as `OPENAI_API_KEY`. It knows where well-known providers are and nothing of
//! what becomes of them.

use secrecy::SecretString;

/// An upstream account found in the environment.
#[derive(Debug)]
pub struct Account {
    /// The id of the provider that it becomes.
    pub provider: &'static str,
    /// The API root.
    pub base_url: String,
    /// The account's key.
    pub key: SecretString,
}

/// A provider that is known by the variable its key is usually kept in. All of them speak OpenAI's API.
struct Known {
    provider: &'static str,
    key: &'static str,
    base_url: &'static str,
}

/// Overrides the API root of `openai`, as it does for OpenAI's own SDKs.
const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";

const KNOWN: [Known; 6] = [
    // https://platform.openai.com/docs/api-reference
    Known { provider: "openai", key: "OPENAI_API_KEY", base_url: "https://api.openai.com/v1" },
    // https://console.groq.com/docs/openai
    Known { provider: "groq", key: "GROQ_API_KEY", base_url: "https://api.groq.com/openai/v1" },
    // https://docs.mistral.ai/api
    Known { provider: "mistral", key: "MISTRAL_API_KEY", base_url: "https://api.mistral.ai/v1" },
    // https://api-docs.deepseek.com
    Known { provider: "deepseek", key: "DEEPSEEK_API_KEY", base_url: "https://api.deepseek.com/v1" },
    // https://openrouter.ai/docs/quickstart
    Known { provider: "openrouter", key: "OPENROUTER_API_KEY", base_url: "https://openrouter.ai/api/v1" },
    // https://docs.together.ai/docs/openai-api-compatibility
    Known { provider: "together", key: "TOGETHER_API_KEY", base_url: "https://api.together.xyz/v1" },
];

/// The accounts whose keys are set. White space around a value is not part of it, and an empty value is none.
pub fn find(variable: impl Fn(&str) -> Option<String>) -> Vec<Account> {
    let value = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let account = |known: &Known| {
        let key = value(known.key)?;
        let base_url = if known.provider == "openai" { value(OPENAI_BASE_URL) } else { None };
        Some(Account {
            provider: known.provider,
            base_url: base_url.unwrap_or_else(|| known.base_url.to_owned()),
            key: key.into(),
        })
    };
    KNOWN.iter().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn found(variables: &[(&str, &str)]) -> Vec<(&'static str, String, String)> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let accounts = find(variable).into_iter();
        accounts.map(|account| (account.provider, account.base_url, account.key.expose_secret().to_owned())).collect()
    }

    #[test]
    fn no_key_is_no_account() {
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[("OPENAI_API_KEY", " "), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")]), []);
    }

    #[test]
    fn openai_is_where_its_base_url_says() {
        let usual = ("openai", "https://api.openai.com/v1".to_owned(), "sk-1".to_owned());
        assert_eq!(found(&[("OPENAI_API_KEY", "sk-1\n")]), std::slice::from_ref(&usual));
        assert_eq!(found(&[("OPENAI_API_KEY", "sk-1"), ("OPENAI_BASE_URL", "")]), [usual]);
        let moved = ("openai", "http://127.0.0.1:1/v1".to_owned(), "sk-1".to_owned());
        assert_eq!(found(&[("OPENAI_API_KEY", "sk-1"), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")]), [moved]);
    }

    #[test]
    fn every_known_provider_is_found_by_its_own_key() {
        for Known { provider, key, base_url } in KNOWN {
            let openai_moved = ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1");
            let variables = if provider == "openai" { vec![(key, "k")] } else { vec![(key, "k"), openai_moved] };
            assert_eq!(found(&variables), [(provider, base_url.to_owned(), "k".to_owned())]);
        }
    }
}
