//! Questions that the control plane asks for a tenant.

use super::Explainer;
use crate::source::Asked;
use attach_proto::{
    question::is_request_id,
    v1::{Answer, FromAgent, Question, answer, from_agent::Message, question::About},
};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// At a time. Each may wait seconds for an issuer, and holds at most a credential and a tenant's part of the bundle.
const MAX_AT_A_TIME: usize = 4;

/// Answers until nobody can ask any more.
pub(crate) async fn answer_questions(explainer: Explainer, mut asked: mpsc::Receiver<Asked>) {
    let room = Arc::new(Semaphore::new(MAX_AT_A_TIME));
    while let Some(Asked { question, answer_to }) = asked.recv().await {
        let Ok(held) = Arc::clone(&room).acquire_owned().await else { return };
        let explainer = explainer.clone();
        tokio::spawn(async move {
            let _held = held;
            let message = Some(Message::Answer(explainer.answer(question).await));
            // The stream may have ended meanwhile: then nobody waits.
            let _ = answer_to.send(FromAgent { message }).await;
        });
    }
}

impl Explainer {
    async fn answer(&self, question: Question) -> Answer {
        let Question { id, tenant, about } = question;
        let answer = match (tenant.parse(), about) {
            (Err(_), _) => Err("the question names no tenant".to_owned()),
            (_, None) => Err("the gateway is too old for this question".to_owned()),
            (Ok(tenant), Some(About::Credential(pasted))) => {
                self.credential(&pasted, Some(tenant)).await.map(answer::Answer::Explanation)
            }
            (Ok(_), Some(About::RequestId(id))) if !is_request_id(&id) => {
                Err("what it asks about is no request id".to_owned())
            }
            (Ok(tenant), Some(About::RequestId(id))) => {
                self.request(id, tenant).await.map(answer::Answer::Refusals)
            }
        };
        Answer { question_id: id, answer: Some(answer.unwrap_or_else(answer::Answer::Problem)) }
    }
}
