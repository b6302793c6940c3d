"""The admin API as an operator with nothing but curl meets it: the same calls and the same documents as over gRPC."""

import json
import subprocess
import unittest

from openai import AuthenticationError, OpenAI
from openapi_spec_validator import OpenAPIV31SpecValidator

from system import ADMIN, ADMIN_TOKEN, GATEWAY, call, grpcurl, in_force

UPSTREAM = "http://127.0.0.1:9/v1"


def curl(*arguments, token=ADMIN_TOKEN, body=None):
    """Runs curl against the admin port, and answers with the HTTP status and what was read."""
    path, *rest = arguments
    command = ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", f"http://{ADMIN}{path}", *rest]
    if token:
        command += ["-H", f"authorization: Bearer {token}"]
    if body is not None:
        command += ["--json", "@-"]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, timeout=60, check=True)
    text, status = done.stdout.rsplit("\n", 1)
    return int(status), text


def asked(*arguments, **options):
    """As curl, with what must be a success read as JSON."""
    status, text = curl(*arguments, **options)
    assert status == 200, f"{status}: {text}"
    return json.loads(text)


class Documents(unittest.TestCase):
    def test_the_openapi_document_is_valid_and_open(self):
        document = asked("/openapi.json", token=None)
        OpenAPIV31SpecValidator(document).validate()
        for method in ["ProviderService/CreateProvider", "ConfigService/ApplyConfig", "ReplicaService/WaitForRevision"]:
            self.assertIn(f"signalbox.admin.v1.{method}", json.dumps(document))

    def test_the_page_and_health_are_open(self):
        status, page = curl("/docs/", token=None)
        self.assertEqual(status, 200)
        self.assertIn("swagger-ui", page)
        self.assertEqual(asked("/health", token=None), {"status": "SERVING"})

    def test_everything_else_asks_for_the_token(self):
        for token in [None, "wrong"]:
            status, text = curl("/v1/providers", token=token)
            self.assertEqual((status, json.loads(text)["error"]["status"]), (401, "UNAUTHENTICATED"))


class Resources(unittest.TestCase):
    def test_it_is_the_document_that_grpcurl_takes_and_gives(self):
        document = {"dialect": "DIALECT_OPENAI", "baseUrl": UPSTREAM, "timeouts": {"streamIdle": "90s"}, "labels": {"b": "2", "a": "1"}}
        made = asked("/v1/providers?provider_id=curl-a", body=document)
        self.addCleanup(lambda: curl("/v1/providers/curl-a?force=true&allow_missing=true", "-X", "DELETE"))
        self.assertEqual(made, call("ProviderService/GetProvider", {"name": "providers/curl-a"}))
        self.assertEqual(list(made)[:2], ["name", "dialect"])
        over_grpc = json.loads(grpcurl("signalbox.admin.v1.ProviderService/CreateProvider", {"provider_id": "curl-b", "provider": document}))
        self.addCleanup(lambda: curl("/v1/providers/curl-b", "-X", "DELETE"))
        self.assertEqual(over_grpc, asked("/v1/providers/curl-b"))
        told = {"name", "createTime", "updateTime", "revision", "etag"}
        self.assertEqual({key: made[key] for key in made.keys() - told}, {key: over_grpc[key] for key in over_grpc.keys() - told})

    def test_an_update_names_its_fields_and_its_version(self):
        made = asked("/v1/providers?provider_id=curl-c", body={"dialect": "DIALECT_OPENAI", "baseUrl": UPSTREAM, "displayName": "before"})
        self.addCleanup(lambda: curl("/v1/providers/curl-c", "-X", "DELETE"))
        changed = asked(
            "/v1/providers/curl-c?update_mask=priority,timeouts.stream_idle",
            "-X",
            "PATCH",
            body={"priority": 3, "timeouts": {"streamIdle": "5s"}, "displayName": "not in the mask", "etag": made["etag"]},
        )
        self.assertEqual((changed["priority"], changed["timeouts"], changed["displayName"]), (3, {"streamIdle": "5s"}, "before"))
        status, text = curl("/v1/providers/curl-c", "-X", "PATCH", body={"priority": 4, "etag": made["etag"]})
        self.assertEqual((status, json.loads(text)["error"]["status"]), (409, "ABORTED"))

    def test_a_client_key_is_shown_once_works_at_once_and_is_revoked(self):
        made = asked("/v1/clientKeys?client_key_id=curl-key", body={"allowedModels": ["demo/*"]})
        self.assertNotIn("secret", asked("/v1/clientKeys/curl-key"))
        in_force(made["revision"])
        client = OpenAI(base_url=f"{GATEWAY}/v1", api_key=made["secret"], max_retries=0)
        self.assertTrue(list(client.models.list()))
        gone = asked("/v1/clientKeys/curl-key", "-X", "DELETE")
        in_force(gone["revision"])
        with self.assertRaises(AuthenticationError):
            client.models.list()

    def test_lists_come_in_pages(self):
        names, token = [], ""
        while True:
            page = asked("/v1/providers", "-G", "--data-urlencode", "page_size=1", "--data-urlencode", f"pageToken={token}")
            names += [provider["name"] for provider in page["providers"]]
            token = page.get("nextPageToken", "")
            if not token:
                break
        self.assertEqual(names, sorted(set(names)))
        self.assertIn("providers/demo", names)


class WholeConfiguration(unittest.TestCase):
    def test_applying_is_one_revision_and_applying_again_is_none(self):
        owner = {"owner": "curl-suite"}
        config = {"redirects": [{"name": "redirects/curl-r", "from": "curl-r", "targets": [{"provider": "demo", "model": "echo"}]}]}
        dry = asked("/v1/config:apply", body={"config": config, "ownerLabels": owner, "validateOnly": True})
        first = asked("/v1/config:apply", body={"config": config, "ownerLabels": owner})
        self.assertEqual(int(first["revision"]), int(dry["revision"]) + 1)
        self.assertTrue(asked("/v1/config:apply", body={"config": config, "ownerLabels": owner})["unchanged"])
        gone = asked("/v1/config:apply", body={"config": {}, "ownerLabels": owner, "mode": "MODE_PRUNE", "maxDeletes": 1})
        self.assertEqual([change["kind"] for change in gone["changes"]], ["KIND_DELETE"])


class BadInput(unittest.TestCase):
    """Each has the right status, a reason for programs, and words that name the field."""

    def refused(self, status, reason, word, *arguments, **options):
        got, text = curl(*arguments, **options)
        error = json.loads(text)["error"]
        self.assertEqual((got, error["code"]), (status, status), text)
        infos = [detail for detail in error["details"] if detail["@type"].endswith("google.rpc.ErrorInfo")]
        self.assertEqual([(info["reason"], info["domain"]) for info in infos], [(reason, "signalbox.dev")])
        self.assertIn(word, error["message"])

    def test_bad_input_is_named(self):
        self.refused(404, "PATH_UNKNOWN", "GET /v1/providers", "/v1/provider")
        self.refused(404, "NOT_FOUND", "providers/nobody", "/v1/providers/nobody")
        self.refused(405, "METHOD_NOT_ALLOWED", "GET", "/v1/providers/demo", "-X", "PUT", body={})
        self.refused(415, "UNSUPPORTED_MEDIA_TYPE", "application/json", "/v1/config:apply", "-d", "{}")
        self.refused(400, "UNKNOWN_FIELD", "provider.nonsense", "/v1/providers?provider_id=bad", body={"nonsense": 1})
        self.refused(400, "UNKNOWN_FIELD", "page_size", "/v1/providers?limit=3")
        self.refused(400, "INVALID_JSON", "line 1", "/v1/config:apply", "-H", "content-type: application/json", "-d", "{nonsense")


if __name__ == "__main__":
    unittest.main()
