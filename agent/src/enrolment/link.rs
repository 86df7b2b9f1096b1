//! The connection to the control plane that all of the gateway's tasks share.

use super::identity::Identity;
use crate::control_plane::{ConnectError, Connection, connect};
use std::sync::Arc;
use tokio::sync::watch;

/// Whoever follows the configuration connects; the others take the connection that there is.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    identity: watch::Receiver<Arc<Identity>>,
    connections: watch::Sender<Option<Connection>>,
}

impl Link {
    pub(crate) fn new(identity: watch::Receiver<Arc<Identity>>) -> Self {
        Self { identity, connections: watch::channel(None).0 }
    }

    /// The identity in force. Changes are seen by [`renewed`](Self::renewed).
    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.borrow())
    }

    /// Connects with the identity in force, and shares the connection.
    pub(crate) async fn connect(&mut self) -> Result<Connection, ConnectError> {
        let identity = Arc::clone(&self.identity.borrow_and_update());
        let connection = connect(&identity.address, Arc::clone(&identity.tls)).await?;
        self.connections.send_replace(Some(connection.clone()));
        Ok(connection)
    }

    /// When another identity has come into force since the last [`connect`](Self::connect).
    pub(crate) async fn renewed(&mut self) {
        if self.identity.changed().await.is_err() {
            // Nobody renews any more: the gateway is about to end.
            std::future::pending::<()>().await;
        }
    }

    /// The connection that there is, when it was good when last heard of.
    pub(crate) fn live_connection(&self) -> Option<Connection> {
        self.connections.borrow().as_ref().filter(|connection| !connection.is_closed()).cloned()
    }

    /// As soon as there is one.
    pub(crate) async fn connection(&self) -> Connection {
        let mut connections = self.connections.subscribe();
        loop {
            if let Some(connection) = self.live_connection() {
                return connection;
            }
            if connections.changed().await.is_err() {
                // This value holds the other end.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The control plane wants no more of this gateway.
    pub(crate) fn drop_connection(&self) {
        self.connections.send_replace(None);
    }
}
