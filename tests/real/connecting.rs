//! The real `ollama` command, which can't send a credential, through `attach-gateway connect`.

use crate::World;
use attach_tests::{Person, Provider, gateway::Setup, issuer::AUDIENCE};
use std::{path::Path, process::Stdio, rc::Rc, time::Duration};
use tokio::{process::Command, time::timeout};

/// A run loads the model, and makes eight tokens.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn the_ollama_command_works_unedited(world: Rc<World>) {
    let provider = Provider::start().await;
    // The command can't be told to stop, and this model does not know when to.
    let bundle = format!(
        "identity_providers:
  - {{issuer: '{}', audiences: [{AUDIENCE}]}}
models:
  - {{name: tiny, targets: [{{upstream: engine}}], max_output_tokens: 8}}
upstreams:
  - {{id: engine, url: '{}'}}
",
        provider.url(),
        world.ollama.url()
    );
    let gateway = Setup::new().with_bundle(&bundle).start().await;
    let alice = Person::at(&provider);
    let direct = format!("127.0.0.1:{}", gateway.port);
    let refused = ollama(&world, &alice, &direct, &["list"]).await;
    assert!(refused.is_err(), "without a credential there is nothing to see: {refused:?}");

    let (_connect, port) = alice.connect(&format!("http://{direct}"), &[]).await;
    let host = format!("127.0.0.1:{port}");
    let listed = ollama(&world, &alice, &host, &["list"]).await.expect("it lists");
    assert!(listed.contains("tiny"), "{listed}");
    let shown = ollama(&world, &alice, &host, &["show", "tiny"]).await.expect("it shows");
    assert!(shown.contains("gemma3"), "{shown}");
    let said = ollama(&world, &alice, &host, &["run", "tiny", "Once upon a time"]).await.expect("it runs");
    assert!(!said.trim().is_empty());
    let running = ollama(&world, &alice, &host, &["ps"]).await.expect("it lists what runs");
    assert!(running.contains("tiny"), "{running}");

    let events = gateway.events();
    let event = events.last().expect("the run is counted");
    assert_eq!(event["principal"]["subject"], "alice", "{event:#}");
    assert_eq!(event["model"], "tiny", "{event:#}");
}

/// What the command prints, or why it failed.
async fn ollama(world: &World, person: &Person, host: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(world.parts.join("ollama"));
    command.env_clear().env("HOME", Path::new(person.home())).env("OLLAMA_HOST", host);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.map_err(|_elapsed| "does not end".to_owned())?;
    let output = output.expect("the command is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
