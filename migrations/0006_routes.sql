-- A third permission, for what changes an engine.
alter table access_rule drop constraint access_rule_permissions_check;
alter table access_rule add constraint access_rule_permissions_check
    check (permissions <@ array['inference', 'read', 'admin'] and permissions <> '{}') not valid;
alter table access_rule validate constraint access_rule_permissions_check;
