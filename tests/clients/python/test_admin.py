"""The admin API as an operator with grpcurl meets it: reflection only, no schema file anywhere."""

import re
import unittest

import grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from openai import AuthenticationError, OpenAI

from system import ADMIN, GATEWAY, Refused, call, eventually, grpcurl, in_force, mask

SERVICES = ["Provider", "Credential", "ClientKey", "Redirect", "Route", "Settings", "Config", "Replica"]
UPSTREAM = "http://127.0.0.1:9/v1"


class Discovery(unittest.TestCase):
    def test_grpcurl_lists_and_describes_without_a_token(self):
        listed = grpcurl("list", token=None)
        for service in SERVICES:
            self.assertIn(f"signalbox.admin.v1.{service}Service", listed)
        self.assertIn("rpc CreateProvider", grpcurl("describe signalbox.admin.v1.ProviderService", token=None))
        self.assertIn("SERVING", grpcurl("grpc.health.v1.Health/Check", {}, token=None))

    def test_reflection_serves_whole_files(self):
        with grpc.insecure_channel(ADMIN) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            file = database.FindFileContainingSymbol("signalbox.admin.v1.Provider")
            self.assertEqual(file.package, "signalbox.admin.v1")

    def test_a_wrong_token_is_unauthenticated(self):
        for token in [None, "wrong"]:
            with self.assertRaises(Refused) as caught:
                call("ProviderService/ListProviders", token=token)
            self.assertEqual(caught.exception.code, "Unauthenticated")


class Resources(unittest.TestCase):
    """Create, get, list, update and delete, for each kind."""

    def setUp(self):
        self.revision = 0

    def moved(self, revision):
        self.assertGreater(int(revision), int(self.revision), "a mutation did not make a revision")
        self.revision = int(revision)

    def provider(self, identity="grpc-a"):
        made = call("ProviderService/CreateProvider", {"provider_id": identity, "provider": {"dialect": "DIALECT_OPENAI", "baseUrl": UPSTREAM}})
        self.addCleanup(lambda: call("ProviderService/DeleteProvider", {"name": f"providers/{identity}", "force": True, "allow_missing": True}))
        self.moved(made["revision"])
        return made

    def test_a_provider_lives_and_dies(self):
        made = self.provider()
        self.assertEqual(made["name"], "providers/grpc-a")
        self.assertEqual(call("ProviderService/GetProvider", {"name": made["name"]}), made)
        changed = call(
            "ProviderService/UpdateProvider",
            {
                "provider": {"name": made["name"], "timeouts": {"streamIdle": "90s"}, "displayName": "not in the mask", "etag": made["etag"]},
                "updateMask": mask("timeouts.stream_idle"),
            },
        )
        self.moved(changed["revision"])
        self.assertEqual(changed["timeouts"], {"streamIdle": "90s"})
        self.assertNotIn("displayName", changed)
        with self.assertRaises(Refused) as caught:
            call("ProviderService/UpdateProvider", {"provider": {"name": made["name"], "displayName": "late", "etag": made["etag"]}})
        self.assertEqual(caught.exception.code, "Aborted")
        gone = call("ProviderService/DeleteProvider", {"name": made["name"]})
        self.moved(gone["revision"])
        with self.assertRaises(Refused) as caught:
            call("ProviderService/GetProvider", {"name": made["name"]})
        self.assertEqual(caught.exception.code, "NotFound")

    def test_a_credential_is_written_and_never_read(self):
        self.provider("grpc-b")
        made = call(
            "CredentialService/CreateCredential",
            {"parent": "providers/grpc-b", "credential_id": "main", "credential": {"secret": "sk-never-shown"}},
        )
        self.moved(made["revision"])
        seen = [made]
        seen.append(call("CredentialService/GetCredential", {"name": made["name"]}))
        seen.append(call("CredentialService/ListCredentials", {"parent": "providers/grpc-b"}))
        changed = call("CredentialService/UpdateCredential", {"credential": {"name": made["name"], "weight": 3}})
        self.moved(changed["revision"])
        seen.append(changed)
        self.assertNotIn("sk-never-shown", str(seen))
        with self.assertRaises(Refused) as caught:
            call("ProviderService/DeleteProvider", {"name": "providers/grpc-b"})
        self.assertEqual(caught.exception.code, "FailedPrecondition")
        self.moved(call("CredentialService/DeleteCredential", {"name": made["name"]})["revision"])

    def test_a_client_key_is_shown_once_works_at_once_and_is_revoked(self):
        made = call("ClientKeyService/CreateClientKey", {"client_key_id": "grpc-key", "client_key": {"allowedModels": ["demo/*"]}})
        self.assertRegex(made["secret"], re.compile(r"^sb_[0-9A-Za-z]+$"))
        self.moved(made["revision"])
        again = call("ClientKeyService/GetClientKey", {"name": "clientKeys/grpc-key"})
        self.assertNotIn("secret", again)
        in_force(made["revision"])
        client = OpenAI(base_url=f"{GATEWAY}/v1", api_key=made["secret"], max_retries=0)
        self.assertTrue(list(client.models.list()))
        gone = call("ClientKeyService/DeleteClientKey", {"name": "clientKeys/grpc-key"})
        in_force(gone["revision"])
        with self.assertRaises(AuthenticationError):
            client.models.list()

    def test_an_existing_key_is_imported(self):
        made = call("ClientKeyService/CreateClientKey", {"client_key_id": "grpc-old", "client_key": {"importSecret": "sk-brought-along"}})
        self.addCleanup(lambda: call("ClientKeyService/DeleteClientKey", {"name": "clientKeys/grpc-old"}))
        self.assertNotIn("sk-brought-along", str(made))
        in_force(made["revision"])
        self.assertTrue(list(OpenAI(base_url=f"{GATEWAY}/v1", api_key="sk-brought-along", max_retries=0).models.list()))

    def test_a_redirect_and_a_route_live_and_die(self):
        redirect = call(
            "RedirectService/CreateRedirect",
            {"redirect_id": "grpc-r", "redirect": {"from": "grpc-r", "targets": [{"provider": "demo", "model": "echo"}]}},
        )
        self.moved(redirect["revision"])
        changed = call("RedirectService/UpdateRedirect", {"redirect": {"name": "redirects/grpc-r", "answerModel": "ANSWER_MODEL_SERVED"}})
        self.moved(changed["revision"])
        self.moved(call("RedirectService/DeleteRedirect", {"name": "redirects/grpc-r"})["revision"])
        route = call("RouteService/CreateRoute", {"route_id": "grpc-m", "route": {"targetUrl": "http://127.0.0.1:9"}})
        self.moved(route["revision"])
        self.assertTrue(any(r["name"] == "routes/grpc-m" for r in call("RouteService/ListRoutes")["routes"]))
        self.moved(call("RouteService/UpdateRoute", {"route": {"name": "routes/grpc-m", "disabled": True}})["revision"])
        self.moved(call("RouteService/DeleteRoute", {"name": "routes/grpc-m"})["revision"])

    def test_the_settings_are_read_and_changed(self):
        before = call("SettingsService/GetSettings")
        changed = call("SettingsService/UpdateSettings", {"settings": {"keylessModels": True, "etag": before["etag"]}})
        self.addCleanup(lambda: call("SettingsService/UpdateSettings", {"settings": {}, "updateMask": mask("keyless_models")}))
        self.moved(changed["revision"])
        self.assertTrue(changed["keylessModels"])

    def test_lists_come_in_pages(self):
        for number in range(5):
            self.provider(f"page-{number}")
        names, token = [], ""
        while True:
            page = call("ProviderService/ListProviders", {"page_size": 2, "page_token": token})
            self.assertLessEqual(len(page["providers"]), 2)
            names += [provider["name"] for provider in page["providers"]]
            token = page.get("nextPageToken", "")
            if not token:
                break
        self.assertEqual(names, sorted(set(names)))
        self.assertLessEqual({f"providers/page-{number}" for number in range(5)}, set(names))


class WholeConfiguration(unittest.TestCase):
    OWNER = {"owner": "grpc-suite"}

    def apply(self, config, **extra):
        return call("ConfigService/ApplyConfig", {"config": config, "ownerLabels": self.OWNER, **extra})

    def test_applying_is_one_revision_and_applying_again_is_none(self):
        config = {
            "providers": [{"name": "providers/apply-a", "dialect": "DIALECT_OPENAI", "baseUrl": UPSTREAM}],
            "credentials": [{"name": "providers/apply-a/credentials/k", "secret": "sk-applied"}],
            "redirects": [{"name": "redirects/apply-r", "from": "apply-r", "targets": [{"provider": "apply-a", "model": "m"}]}],
        }
        dry = self.apply(config, validateOnly=True)
        self.assertEqual(len(dry["changes"]), 3)
        first = self.apply(config)
        self.assertEqual(int(first["revision"]), int(dry["revision"]) + 1)
        again = self.apply(config)
        self.assertTrue(again["unchanged"])
        self.assertEqual(again["revision"], first["revision"])
        with self.assertRaises(Refused) as caught:
            self.apply(config, expectedRevision=str(int(first["revision"]) - 1))
        self.assertEqual(caught.exception.code, "Aborted")
        with self.assertRaises(Refused) as caught:
            self.apply({}, mode="MODE_PRUNE")
        self.assertEqual(caught.exception.code, "FailedPrecondition")
        gone = self.apply({}, mode="MODE_PRUNE", maxDeletes=3)
        self.assertEqual({change["kind"] for change in gone["changes"]}, {"KIND_DELETE"})


class BadInput(unittest.TestCase):
    """Each is a precise error and no revision."""

    def refused(self, method, request, code, *words):
        before = call("SettingsService/GetSettings"), call("ConfigService/ApplyConfig", {"config": {}})["revision"]
        with self.assertRaises(Refused) as caught:
            call(method, request)
        self.assertEqual(caught.exception.code, code, caught.exception.text)
        for word in words:
            self.assertIn(word, caught.exception.text)
        self.assertEqual(before, (call("SettingsService/GetSettings"), call("ConfigService/ApplyConfig", {"config": {}})["revision"]))

    def test_bad_input_is_named(self):
        create = lambda identity, **fields: {"provider_id": identity, "provider": {"dialect": "DIALECT_OPENAI", "baseUrl": UPSTREAM, **fields}}
        self.refused("ProviderService/CreateProvider", create("bad", baseUrl="ftp://x"), "InvalidArgument", "base_url")
        self.refused("ProviderService/CreateProvider", create("Bad_Name"), "InvalidArgument", "provider_id")
        self.refused("ProviderService/CreateProvider", {"provider_id": "bad", "provider": {"baseUrl": UPSTREAM}}, "InvalidArgument", "dialect")
        self.refused(
            "ProviderService/UpdateProvider",
            {"provider": {"name": "providers/demo"}, "updateMask": mask("timeouts.stream_idel")},
            "InvalidArgument",
            "update_mask",
        )
        self.refused("RouteService/CreateRoute", {"route_id": "v1", "route": {"targetUrl": UPSTREAM}}, "InvalidArgument", "v1")
        loop = {"config": {"redirects": [
            {"name": "redirects/loop-a", "from": "loop-a", "targets": [{"model": "loop-b"}]},
            {"name": "redirects/loop-b", "from": "loop-b", "targets": [{"model": "loop-a"}]},
        ]}}
        self.refused("ConfigService/ApplyConfig", loop, "InvalidArgument", "loop-a")
        self.refused(
            "RedirectService/CreateRedirect",
            {"redirect_id": "dangling", "redirect": {"from": "x", "targets": [{"provider": "nobody", "model": "m"}]}},
            "FailedPrecondition",
            "nobody",
        )


class Replicas(unittest.TestCase):
    def test_the_data_plane_is_listed_in_step(self):
        replicas = eventually(lambda: call("ReplicaService/ListReplicas").get("replicas"))
        eventually(lambda: call("ReplicaService/GetReplica", {"name": replicas[0]["name"]})["state"] == "STATE_SYNCED")


if __name__ == "__main__":
    unittest.main()
