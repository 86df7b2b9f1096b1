-- Callers that prove a DID themselves. The policy is one document, the proto-JSON of a DidPolicy: it is read and written as a
-- whole, and only with its tenant. Without one no DID calls for the tenant. That a DID calls for one tenant by one audience
-- alone is checked in the transaction that sets it, which holds the head of all configuration.
alter table tenant add column did_policy jsonb check (jsonb_typeof(did_policy) = 'object');

create index tenant_did_audiences on tenant using gin ((did_policy -> 'audiences')) where did_policy is not null;
