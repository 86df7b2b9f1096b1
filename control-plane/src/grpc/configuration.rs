//! `Configuration`: a stream for each agent, as long as both live.

use super::{Door, peer, refusal, session::Session};
use attach_proto::v1::{
    FromAgent, ToAgent, configuration_server::Configuration, from_agent::Message as Said,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// An agent says Hello at once; whoever does not is none.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Chunks on their way to one agent. The session waits for the agent when they are not taken, and then goes on with what is
/// newest.
const QUEUED_CHUNKS: usize = 4;

#[tonic::async_trait]
impl Configuration for Door {
    type FollowStream = ReceiverStream<Result<ToAgent, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let agent = peer::agent(&request, &self.clock)?;
        let mut said = request.into_inner();
        let (to_agent, stream) = mpsc::channel(QUEUED_CHUNKS);
        let door = self.clone();
        // The answer's head leaves before the agent has said anything: both sides may wait for the other's first word.
        tokio::spawn(async move {
            let first = tokio::time::timeout(HELLO_WITHIN, said.message()).await;
            let hello = match first {
                Ok(Ok(Some(FromAgent { message: Some(Said::Hello(hello)) }))) => hello,
                Ok(Ok(_)) => {
                    let _ = to_agent.send(Err(refusal::invalid("the first message must be Hello"))).await;
                    return;
                }
                // The agent is gone.
                Ok(Err(_)) => return,
                Err(_) => {
                    let _ = to_agent.send(Err(Status::deadline_exceeded("no Hello came"))).await;
                    return;
                }
            };
            let ended = tokio::select! {
                ended = Session::run(&door, &agent, hello, said, &to_agent) => ended,
                () = door.stop.cancelled() => Err(Status::unavailable("the control plane is being stopped")),
            };
            if let Err(status) = ended {
                tracing::info!(agent.id = %agent.agent, "the stream of an agent ends: {}", status.message());
                let _ = to_agent.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
