//! The API's own description, for people and programs.

use serde_json::json;
use signalbox_proto::admin::v1::Settings;
use signalbox_tests::{Draft, System};

#[tokio::test]
async fn the_page_and_all_that_it_loads_come_from_the_gateway_below_any_base_path() {
    let system = System::start().await;
    let settings = Settings { base_path: "/api/llm".to_owned(), ..Settings::default() };
    for base in ["", "/api/llm"] {
        let client = system.client().without_key();
        for path in ["/docs", "/docs/"] {
            let page = client.get(&format!("{base}{path}")).await;
            assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{base}{path}");
            assert!(page.header("content-security-policy").contains("default-src 'none'"));
            assert!(page.text().contains(&format!("<base href=\"{base}/docs/\">")), "{}", page.text());
        }
        for (file, kind) in [
            ("swagger-ui.css", "text/css"),
            ("swagger-ui-bundle.js", "text/javascript"),
            ("swagger-ui-standalone-preset.js", "text/javascript"),
            ("favicon-32x32.png", "image/png"),
        ] {
            let loaded = client.get(&format!("{base}/docs/{file}")).await;
            assert_eq!((loaded.status, loaded.header("content-type")), (200, kind), "{file}");
            assert!(loaded.body.len() > 100 && loaded.header("content-encoding") == "gzip", "{file}");
        }
        let starts = client.get(&format!("{base}/docs/swagger-initializer.js")).await;
        assert!(starts.text().contains("\"../openapi.json\""), "{}", starts.text());
        assert_eq!(client.get(&format!("{base}/docs/nothing.js")).await.code(), "unknown_url");
        let document = client.get(&format!("{base}/openapi.json")).await;
        assert_eq!((document.status, document.header("content-type")), (200, "application/json"));
        let document = document.json();
        let server = if base.is_empty() { "/" } else { base };
        assert_eq!(document["servers"], json!([{ "url": server }]));
        let chat = &document["paths"]["/v1/chat/completions"]["post"];
        assert_eq!(chat["requestBody"]["content"]["application/json"]["schema"]["required"], json!(["model"]));
        assert!(chat["responses"]["429"]["description"].as_str().unwrap().contains("rate_limit_exceeded"));
        let about = client.get(&format!("{base}/")).await.json();
        assert_eq!((&about["docs"], &about["base_path"]), (&json!(format!("{base}/docs")), &json!(base)));
        system.apply(Draft::new().settings(settings.clone())).await;
    }
}
