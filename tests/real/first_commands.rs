//! The first commands of Attach Gateway's and Ollama Auth Proxy's users, typed into a shell as their documents have them.
//!
//! Only the host names and ports are others. What curl prints besides comes from its own settings file.

use crate::World;
use attach_tests::{eventually, free_port};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::json;
use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};

/// A shell of somebody who has installed the gateway, curl and the OpenAI client.
struct Shell {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A gateway in its background; ended when it is dropped.
struct Background(Child);

const PYTHON: &str = r#"python - <<'END'
from openai import OpenAI
client = OpenAI(base_url="http://localhost:8080", api_key="sk-anything-goes")
answer = client.chat.completions.create(model="llama3", messages=[{"role": "user", "content": "hello"}])
print(answer.choices[0].message.content)
print(answer.usage)
END"#;

pub(crate) async fn run_as_written(world: Rc<World>) {
    answers_end_soon(&world).await;
    let mut shell = Shell::new(&world);
    shell.set("OLLAMA_HOST", &format!("127.0.0.1:{}", world.ollama.port()));

    // The provider's own name ends with a slash, the setting does not.
    let without_slash = world.issuer.url();
    world.issuer.call_itself(&format!("{without_slash}/"));
    shell.set("JWT", &world.issuer.token("alice"));
    let port = free_port();
    let start = format!("OIDC_ISSUER={without_slash} OIDC_AUD=test-api attach-gateway --port 8080");
    {
        let _gateway = shell.start(&start, port).await;
        let curl = r#"curl -H "Authorization: Bearer $JWT" -d '{"model":"llama3","prompt":"hello"}' http://localhost:8080/api/chat"#;
        let printed = shell.run(curl, port);
        assert!(printed.starts_with("HTTP/1.1 200"), "{printed}");
        assert!(printed.contains("ratelimit-limit-tokens: 60000"), "the limit when none is set: {printed}");
        let lines: Vec<serde_json::Value> = printed
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let text: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
        assert!(
            !text.trim().is_empty() && lines.last().is_some_and(|last| last["done"] == true),
            "{printed}"
        );
        // Fails when there is none, or more than one.
        shell.run("grep 'metadata names it in another form' gateway.log && test \"$(grep -c 'another form' gateway.log)\" = 1", port);
        let usage = shell.run("attach-gateway usage", port);
        assert!(usage.contains("alice") && usage.contains("llama3"), "{usage}");
    }

    shell.write("keys.json", r#"{"keys": ["sk-anything-goes"]}"#);
    shell.run("cat keys.json", port);
    {
        let _gateway = shell.start("KEYS_FILE=keys.json attach-gateway --port 8080", port).await;
        let printed = shell.run(PYTHON, port);
        let (text, counts) = printed.trim_end().rsplit_once('\n').expect("text and counts");
        assert!(!text.trim().is_empty(), "{printed}");
        let output = counts.split("completion_tokens=").nth(1).and_then(|rest| rest.split(',').next());
        let usage = shell.run("attach-gateway usage", port);
        let row = usage.lines().find(|row| row.contains(" key ")).expect("the key's row");
        assert_eq!(row.split_whitespace().rev().nth(1), output, "the output tokens that the client was told");
    }

    let env = format!(
        "OIDC_ISSUER={without_slash}\nOIDC_AUD=test-api\nMAX_TOKENS_PER_MIN=none\nMEM_BACKEND=none\n"
    );
    shell.write(".env", &env);
    shell.run("cat .env", port);
    {
        let _gateway = shell.start("attach-gateway --port 8080", port).await;
        let curl = r#"curl -H "Authorization: Bearer $JWT" -d '{"model":"llama3","messages":[{"role":"user","content":"hello"}],"stream":false}' http://localhost:8080/api/chat"#;
        let printed = shell.run(curl, port);
        assert!(printed.starts_with("HTTP/1.1 200") && printed.contains(r#""content":""#), "{printed}");
        assert!(!printed.contains("ratelimit"), "none means no limit: {printed}");
    }
    world.issuer.call_itself(&without_slash);
}

/// This model is a base model, which has no end to its answers, and the commands set none. So the engine's owner does:
/// at the end of the first sentence.
async fn answers_end_soon(world: &World) {
    let owner = attach_tests::Client::new(world.ollama.port());
    let parameters =
        json!({"stop": [".", "!"], "num_predict": 64, "num_thread": 1, "seed": 1, "temperature": 0});
    let answer = owner
        .post("/api/create", &json!({"model": "llama3", "from": "tiny", "parameters": parameters}))
        .await;
    assert!(answer.text().contains("success"), "{}", answer.text());
}

impl Shell {
    fn new(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let gateway = attach_tests::gateway::binary();
        let own = gateway.parent().expect("in a folder").display();
        let path = format!("{own}:{}:/usr/bin:/bin", world.parts.join("venv/bin").display());
        let home = folder.path().display().to_string();
        let shell = Self { folder, environment: vec![("PATH".into(), path), ("HOME".into(), home)] };
        shell.write(".curlrc", "silent\nshow-error\ninclude\n");
        shell
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.into(), value.into()));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("our own folder");
    }

    fn command(&self, line: &str) -> Command {
        println!("$ {line}");
        let mut command = Command::new("bash");
        command.args(["-c", line]).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What it printed.
    fn run(&self, line: &str, port: u16) -> String {
        let output = self.command(&placed(line, port)).output().expect("bash runs");
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{}", text.trim_end());
        assert!(output.status.success(), "{line}: {}", output.status);
        text
    }

    /// Until it takes connections.
    async fn start(&self, line: &str, port: u16) -> Background {
        let log: PathBuf = self.folder.path().join("gateway.log");
        let file = File::create(&log).expect("our own folder");
        let mut command = self.command(&placed(line, port));
        let access_log = file.try_clone().expect("an open file");
        // A group of its own, so that the shell and the gateway end together.
        let child = command.stdout(access_log).stderr(file).process_group(0).spawn().expect("bash runs");
        let mut background = Background(child);
        eventually("the gateway listens", Duration::from_secs(20), async || {
            let ended = background.0.try_wait().expect("our own child");
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "{said}");
            said.contains("listening on").then_some(())
        })
        .await;
        println!("{}", fs::read_to_string(&log).unwrap_or_default().trim_end());
        background
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            // Gone already when it failed.
            let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

/// The documents' port is taken on many machines.
fn placed(line: &str, port: u16) -> String {
    line.replace("8080", &port.to_string())
}
