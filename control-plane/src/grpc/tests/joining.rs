use super::{
    agent::{channel, join, request},
    *,
};
use attach_proto::v1::{
    RenewRequest, UsageBatch, enrolment_client::EnrolmentClient, usage_client::UsageClient,
};
use jiff::SignedDuration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_gateways_that_race_for_one_token_one_joins() {
    let Some(front) = Front::start().await else { return };
    let token = front.token().await;
    let front = &front;
    let racing: Vec<_> = (0..50).map(|_| join(front, &token)).collect();
    let mut joined = 0;
    let outcomes = futures(racing).await;
    for outcome in outcomes {
        match outcome {
            Ok(_) => joined += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied, "{status}");
                assert!(status.message().contains("was used"), "{status}");
                assert_eq!(reason(&status), "JOIN_TOKEN_REFUSED");
            }
        }
    }
    assert_eq!(joined, 1);
    assert_eq!(front.world.test.as_superuser("select count(*) from agent"), Ok("1".to_owned()));
}

/// All at once, on one task.
async fn futures<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_refused_for_its_own_reason() {
    let Some(front) = Front::start().await else { return };
    let refused = async |token: &str| join(&front, token).await.expect_err("it is refused");

    let expired = front.token().await;
    front.later(SignedDuration::from_hours(2));
    assert!(refused(&expired).await.message().contains("has expired"));

    let revoked = front.token().await;
    let id = revoked.split('_').nth(1).unwrap();
    crate::ops::revoke_join_token(&front.world.db, &front.world.operator, id).await.unwrap();
    assert!(refused(&revoked).await.message().contains("was revoked"));

    let other = attach_proto::join_token::JoinToken::new(&"a".repeat(16), &"b".repeat(43), [1; 32]);
    assert!(refused(other.as_str()).await.message().contains("another control plane"));
    let own = front.door.authority.sha256();
    let unknown = attach_proto::join_token::JoinToken::new(&"a".repeat(16), &"b".repeat(43), own);
    assert!(refused(unknown.as_str()).await.message().contains("not known"));
    assert!(refused(&unknown.as_str()[..90]).await.message().contains("not whole"));
    assert_eq!(front.world.test.as_superuser("select count(*) from agent"), Ok("0".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_none_uses_up_no_token() {
    let Some(front) = Front::start().await else { return };
    let token = front.token().await;
    let nonsense = attach_proto::v1::JoinRequest {
        token: token.clone(),
        certificate_request: b"nonsense".to_vec(),
        host: "gpu-1".to_owned(),
        version: String::new(),
    };
    let refused = EnrolmentClient::new(channel(&front, None)).join(nonsense).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("certificate_request"), "{refused}");
    join(&front, &token).await.unwrap();
}

#[tokio::test]
async fn nothing_but_joining_is_open_to_those_without_a_certificate() {
    let Some(front) = Front::start().await else { return };
    let stranger = channel(&front, None);
    let renewed = EnrolmentClient::new(stranger.clone()).renew(RenewRequest::default()).await;
    assert_eq!(renewed.unwrap_err().code(), Code::Unauthenticated);
    let reported = UsageClient::new(stranger.clone()).report(UsageBatch::default()).await;
    assert_eq!(reported.unwrap_err().code(), Code::Unauthenticated);

    // Signed by another authority, in the name of an agent of this one.
    let agent = front.agent().await;
    let (other, _) = Authority::make(Clock::System.now()).unwrap();
    let (key, request) = request();
    let name = attach_proto::enrolment::AgentName { pool: pool(), agent: agent.name.parse().unwrap() };
    let forged = other.for_agent(&request, &name, Clock::System.now()).unwrap();
    let forger = channel(&front, Some((forged.der, &key)));
    let refused = UsageClient::new(forger).report(UsageBatch::default()).await.unwrap_err();
    assert_ne!(refused.code(), Code::InvalidArgument, "it got past the handshake: {refused}");
}

#[tokio::test]
async fn an_agent_gets_a_new_certificate_until_it_is_revoked() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let (_, certificate_request) = request();
    let mut client = EnrolmentClient::new(agent.channel.clone());
    let renew = RenewRequest { certificate_request };
    let renewed = client.renew(renew.clone()).await.unwrap().into_inner();
    let life = renewed.not_after.unwrap().seconds - renewed.not_before.unwrap().seconds;
    assert_eq!(life, 24 * 3600);
    crate::ops::revoke_agent(&front.world.db, &front.world.operator, &agent.name.parse().unwrap())
        .await
        .unwrap();
    let refused = client.renew(renew).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "AGENT_REVOKED"));
    let actions = front
        .world
        .test
        .as_superuser("select action from audit_entry where target like 'agent-%' order by n");
    assert_eq!(actions.unwrap(), "join_agent\nrenew_certificate\nrevoke_agent");
}

/// Its control plane was away for days.
#[tokio::test]
async fn a_certificate_that_has_ended_is_good_for_its_renewal_and_for_nothing_else() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let name = attach_proto::enrolment::AgentName { pool: pool(), agent: agent.name.parse().unwrap() };
    let ended = |days: i64| {
        let (key, request) = request();
        let at = Clock::System.now() - SignedDuration::from_hours(24 * days);
        let certificate = front.door.authority.for_agent(&request, &name, at).unwrap();
        channel(&front, Some((certificate.der, &key)))
    };
    let late = ended(10);
    let reported = UsageClient::new(late.clone()).report(UsageBatch::default()).await.unwrap_err();
    assert_eq!(reported.code(), Code::Unauthenticated);
    assert!(reported.message().contains("ended at"), "{reported}");
    let (_, certificate_request) = request();
    let renew = RenewRequest { certificate_request };
    EnrolmentClient::new(late.clone()).renew(renew.clone()).await.unwrap();
    EnrolmentClient::new(ended(30)).renew(renew.clone()).await.unwrap_err();
    crate::ops::revoke_agent(&front.world.db, &front.world.operator, &name.agent).await.unwrap();
    let refused = EnrolmentClient::new(late).renew(renew).await.unwrap_err();
    assert_eq!(reason(&refused), "AGENT_REVOKED");
}
