"""The secret scan: finds the formats that vendors publish, spares what only looks like one, and never repeats a value.

Every token here is put together at run time from a fixed seed: none is real, and none stands in this file.
"""

from __future__ import annotations

import base64
import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_review import tokens
from examples.repositories import Repository, letters

RULES = tokens.load()
HEX, UPPER, BASE32 = "0123456789abcdef", string.ascii_uppercase + string.digits, string.ascii_uppercase + "234567"
WORD = string.ascii_letters + string.digits + "_-"
BASE64 = string.ascii_letters + string.digits + "+/"


def with_checksum(prefix: str) -> str:
    body = letters(30)
    return prefix + body + tokens.crc32_base62(body)


def web_token() -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": "1234", "name": "somebody"}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, letters(43, WORD)])


def key_block(kind: str) -> str:
    lines = "\n".join(letters(64, BASE64, seed=n) for n in range(12))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"


EXAMPLES: dict[str, str] = {
    "github-token": with_checksum("ghp" + "_"),
    "github-fine-grained-token": f"github_pat_{letters(22)}_{letters(59)}",
    "npm-token": with_checksum("npm" + "_"),
    "pypi-token": "pypi-AgE" + letters(120, WORD),
    "rubygems-token": "rubygems_" + letters(48, HEX),
    "docker-hub-token": "dckr_pat_" + letters(27, WORD),
    "gitlab-token": "glpat-" + letters(20, WORD),
    "aws-access-key-id": "AKIA" + letters(16, BASE32),
    "aws-secret-access-key": f'aws_secret_access_key = "{letters(40, BASE64)}"',
    "google-api-key": "AIza" + letters(35, WORD),
    "google-oauth-secret": "GOCSPX-" + letters(28, WORD),
    "azure-storage-key": f"DefaultEndpointsProtocol=https;AccountName=store;AccountKey={letters(86, BASE64)}==;",
    "azure-client-secret": letters(3, string.ascii_letters) + "8Q~" + letters(34, string.ascii_letters + string.digits + "_.-"),
    "slack-token": f"xoxb-{letters(12, string.digits)}-{letters(12, string.digits)}-{letters(24)}",
    "slack-webhook": f"https://hooks.slack.com/services/T{letters(9, UPPER)}/B{letters(9, UPPER)}/{letters(24)}",
    "stripe-key": "sk" + "_live_" + letters(24),
    "stripe-test-key": "sk" + "_test_" + letters(24),
    "stripe-webhook-secret": "whsec_" + letters(32),
    "openai-key": f"sk-proj-{letters(40, WORD)}T3Blbk" + f"FJ{letters(40, WORD)}",
    "anthropic-key": f"sk-ant-api03-{letters(93, WORD)}AA",
    "hugging-face-token": "hf_" + letters(34, string.ascii_letters),
    "sendgrid-key": f"SG.{letters(22, WORD)}.{letters(43, WORD)}",
    "mailgun-key": "key-" + letters(32, HEX),
    "mailchimp-key": letters(32, HEX) + "-us12",
    "twilio-key": "SK" + letters(32, HEX),
    "telegram-bot-token": f"{letters(10, '123456789')}:AA{letters(33, WORD)}",
    "discord-bot-token": f'bot.run("M{letters(25)}.{letters(6)}.{letters(30)}")',
    "digitalocean-token": "dop_v1_" + letters(64, HEX),
    "databricks-token": "dapi" + letters(32, HEX),
    "shopify-token": "shpat_" + letters(32, HEX),
    "square-token": "sq0atp-" + letters(22, WORD),
    "atlassian-token": "ATATT3" + letters(186, WORD),
    "linear-key": "lin_api_" + letters(40),
    "notion-token": "ntn_" + letters(46),
    "postman-key": f"PMAK-{letters(24, HEX)}-{letters(34, HEX)}",
    "new-relic-key": "NRAK-" + letters(27, UPPER),
    "grafana-token": f"glsa_{letters(32)}_{letters(8, HEX)}",
    "vault-token": "hvs." + letters(90, WORD),
    "terraform-token": f"{letters(14)}.atlasv1.{letters(67, WORD)}",
    "doppler-token": "dp.pt." + letters(43),
    "pulumi-token": "pul-" + letters(40, HEX),
    "planetscale-token": "pscale_tkn_" + letters(43, WORD),
    "sentry-token": "sntryu_" + letters(64, HEX),
    "supabase-token": "sbp_" + letters(40, HEX),
    "heroku-key": "HRKU-AA" + letters(58, WORD),
    "age-secret-key": "AGE-SECRET-KEY-1" + letters(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
    "private-key": key_block("RSA PRIVATE" + " KEY"),
    "json-web-token": web_token(),
    "password-in-url": f"postgresql://app:{letters(14)}@db.internal.acme.io:5432/app",
    "generic-secret": f'SIGNING_SECRET = "{letters(32)}"',
    "generic-password": 'password = "' + letters(6) + '9!Kq"',
}
"""One made-up secret of each rule, in the surroundings that the rule needs."""


def found(text: str) -> list[str]:
    return [hit.rule for hit in tokens.scan(text, RULES)]


@pytest.mark.promise("EX-08")
def test_every_rule_has_an_example_here() -> None:
    assert set(EXAMPLES) == {rule.id for rule in RULES.rules}


@pytest.mark.promise("EX-08")
@pytest.mark.parametrize("rule", EXAMPLES)
@pytest.mark.parametrize("frame", ["{}", 'value = "{}"\n', "export NAME={}\nnext line", "a: {} # note", '{{"x": "{}"}}'])
def test_each_format_is_found_in_its_usual_places(rule: str, frame: str) -> None:
    text = frame.format(EXAMPLES[rule])
    assert rule in found(text)


@pytest.mark.promise("EX-08")
@pytest.mark.parametrize("rule", EXAMPLES)
def test_nothing_of_a_value_is_repeated(rule: str) -> None:
    (hit, *_) = [hit for hit in tokens.scan(EXAMPLES[rule], RULES) if hit.rule == rule]
    secret = hit.value[len(hit.prefix) :]
    for said in (hit.message(b"commit"), repr(hit), tokens.redact(EXAMPLES[rule], RULES)):
        assert not any(secret[at : at + 6] in said for at in range(max(1, len(secret) - 5)))


HARD_NEGATIVES = [
    "private_key: Ed25519PrivateKey | Ed448PrivateKey",
    "auth = HTTPDigestAuth2Handler",
    "ghp_" + "x" * 36,
    "ghp" + "_" + letters(36),  # the checksum does not fit
    "AKIA" + "IOSFODNN7" + "EXAMPLE",
    'password = "changeme"',
    'password: "${DB_PASSWORD}"',
    "password = os.environ['DB_PASSWORD']",
    'token = "{{ secrets.TOKEN }}"',
    'api_key = "YOUR_API_KEY_GOES_HERE"',
    'secret = "<your-secret-goes-here>"',
    f'sha256 = "{letters(64, HEX)}"',
    f'secret_hash: "{letters(40, HEX)}"',
    'token_id = "123e4567-e89b-12d3-a456-426614174000"',
    "https://user:password@example.com/path",
    "http://user:pass@localhost:8080/",
    "postgres://$USER:$PASS@host/db",
    "https://${USER}:${PASSWORD}@registry.acme.io",
    "key = 'application.settings.database.connection'",
    'SECRET_KEY = config.get("secret_key")',
    "auth_token = request.headers.get('Authorization')",
    'token = "this-is-only-a-long-label-with-words"',
    'secret = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"',
    "sk_live_" + "0" * 24,
    "eyJhbGciOi.eyJzdWIiOi.not-a-signature-that-is-long-enough",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    'password = "Enter your password, then 2 more!"',
    "integrity: sha512-" + letters(86, BASE64) + "==",
    'ACCESS_TOKEN_URL = "https://accounts.acme.io/oauth2/v4/token"',
    "keyboard = 'qwertyuiopasdfgh1234'",
    f'"key": "ssh-ed25519 {letters(68, BASE64)}"',
    "def test_password_reset_token_expires_after_24_hours(self):",
]


@pytest.mark.promise("EX-08")
@pytest.mark.parametrize("text", HARD_NEGATIVES)
def test_what_only_looks_like_a_secret_is_spared(text: str) -> None:
    assert found(text) == []


def test_a_wrong_checksum_lowers_or_drops() -> None:
    assert found("ghp" + "_" + letters(36)) == []
    (hit,) = tokens.scan("npm" + "_" + letters(36), RULES)
    assert (hit.severity, hit.verified) == ("low", False)
    (hit,) = tokens.scan(EXAMPLES["npm-token"], RULES)
    assert (hit.severity, hit.verified) == ("high", True)


def test_checksums_are_six_characters_of_base_62() -> None:
    assert tokens.crc32_base62("") == "000000"
    assert tokens.crc32_base62("a") == "4GEHKN"  # CRC-32 of "a" is 3,904,355,907


@settings(max_examples=100, deadline=None)
@given(st.text(string.ascii_letters + string.digits, min_size=30, max_size=30), st.integers(0, 35))
def test_one_changed_character_breaks_a_checksum(body: str, at: int) -> None:
    token = body + tokens.crc32_base62(body)
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    assert tokens.crc32_base62(changed[:30]) != changed[30:]


def test_fingerprints_tell_equal_tokens_but_only_within_a_commit() -> None:
    (first,) = tokens.scan(EXAMPLES["gitlab-token"], RULES)
    (again,) = tokens.scan("x = " + EXAMPLES["gitlab-token"], RULES)
    assert first.fingerprint(b"c1") == again.fingerprint(b"c1") != first.fingerprint(b"c2")


def test_values_that_people_choose_get_no_fingerprint() -> None:
    (hit,) = tokens.scan(EXAMPLES["password-in-url"], RULES)
    assert hit.fingerprint(b"c") == "" and "fingerprint" not in hit.message(b"c")


def test_places_are_lines_and_columns() -> None:
    (hit,) = tokens.scan("one\ntwo " + EXAMPLES["linear-key"], RULES)
    assert (hit.line, hit.column) == (2, 5)


def test_the_more_exact_rule_wins() -> None:
    assert found(f'api_key = "{EXAMPLES["openai-key"]}"') == ["openai-key"]


def test_a_rule_file_with_two_of_a_name_is_refused(tmp_path: Path) -> None:
    rule = "{id: a, title: A, keywords: [a], pattern: a, severity: low, keep: 0}"
    lists = "allow: {references: [], placeholders: [], words: [], hosts: [], hashes: []}"
    (tmp_path / "rules.yaml").write_text(f"version: 1\nrules: [{rule}, {rule}]\n{lists}\n", "utf-8")
    with pytest.raises(ValueError, match="used twice"):
        tokens.load(tmp_path / "rules.yaml")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_scanned_and_redacted(text: str) -> None:
    assert tokens.redact(text, RULES) or not text


@pytest.mark.promise("EX-08")
def test_the_program_names_places_and_no_values(repository: Repository, program) -> None:  # type: ignore[no-untyped-def]
    repository.commit("one", {"settings.yaml": f"a: 1\ntoken: {EXAMPLES['github-token']}\n", "notes.txt": EXAMPLES["slack-webhook"]})
    answer = program("secret_scan.py", repo=repository.path)
    assert [(one["rule"], one["path"], one["line"], one["severity"]) for one in answer["findings"]] == [
        ("slack-webhook", "notes.txt", 1, "high"),
        ("github-token", "settings.yaml", 2, "high"),
    ]
    printed = json.dumps(answer)
    assert EXAMPLES["github-token"][4:] not in printed and EXAMPLES["slack-webhook"][-20:] not in printed
    assert answer["files"] == 2
