//! Over real sockets, as a browser does it.

use crate::{
    auth::CSRF_FIELD,
    authority::BundleSigner,
    ops::{make_sign_in_link, tests::pool},
    router::tests::Served,
};
use attach_proto::v1;
use attach_tests::{Answer, Client};

mod dids;
mod forms;
mod pages;
mod providers;
mod routes;
mod sign_in;

/// What the gateways of the pool `main` are to serve by now.
async fn bundle(served: &Served) -> v1::Bundle {
    let (signer, _) = BundleSigner::make().unwrap();
    let app = &served.app;
    let built = crate::bundle::build(&app.db, &app.sealer, &signer, &pool()).await.unwrap();
    built.resources.bundle(built.revision).unwrap()
}

/// Somebody with a cookie.
struct Browser<'a> {
    served: &'a Served,
    cookie: String,
}

async fn link(served: &Served) -> String {
    let link = make_sign_in_link(&served.world.db, &served.world.operator, served.now()).await.unwrap();
    link.as_str().to_owned()
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn post(client: Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    client
        .with_header("content-type", "application/x-www-form-urlencoded")
        .post_raw(path, encoded(fields))
        .await
}

impl<'a> Browser<'a> {
    async fn signed_in(served: &'a Served) -> Self {
        let answer = post(served.anybody(), "/sign-in", &[("link", &link(served).await)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, Some("/")),
            "{}",
            answer.text()
        );
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        Self { served, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    fn client(&self) -> Client {
        self.served.anybody().with_header("cookie", &self.cookie)
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.client().get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    async fn csrf(&self) -> String {
        let page = self.page("/").await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        post(self.client(), path, &[fields, &[(CSRF_FIELD, &csrf)]].concat()).await
    }

    /// A form that is taken, and leads to a page.
    async fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        self.page(answer.header("location").unwrap()).await
    }

    /// A form that is shown again.
    async fn refused(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, 422, "{path}: {}", answer.text());
        answer.text()
    }
}
