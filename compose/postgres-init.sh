#!/bin/sh
# First start of the database server: a database per region, their owner, and a login for each service.
# The group roles carry the grants; the migrations make them where they are missing, and give them their grants.
set -eu

psql -v ON_ERROR_STOP=1 --username postgres \
  -v owner="$OWNER_PASSWORD" -v streams="$STREAMS_PASSWORD" -v ingest="$INGEST_PASSWORD" -v api="$API_PASSWORD" \
  -v relay="$RELAY_PASSWORD" -v search="$SEARCH_PASSWORD" -v webhooks="$WEBHOOKS_PASSWORD" \
  -v scheduler="$SCHEDULER_PASSWORD" -v archiver="$ARCHIVER_PASSWORD" -v admin="$ADMIN_PASSWORD" <<'SQL'
CREATE ROLE hyrelog_owner LOGIN CREATEROLE PASSWORD :'owner';
CREATE ROLE hyrelog_streams NOLOGIN;
CREATE ROLE hyrelog_ingest NOLOGIN;
CREATE ROLE hyrelog_api NOLOGIN;
CREATE ROLE hyrelog_relay NOLOGIN;
CREATE ROLE hyrelog_search NOLOGIN;
CREATE ROLE hyrelog_webhooks NOLOGIN;
CREATE ROLE hyrelog_scheduler NOLOGIN;
CREATE ROLE hyrelog_archiver NOLOGIN;
CREATE ROLE hyrelog_admin NOLOGIN;
-- COPY FROM into a table under row-level security needs BYPASSRLS, which no group can hand down.
CREATE ROLE streams_login LOGIN BYPASSRLS PASSWORD :'streams' IN ROLE hyrelog_streams;
CREATE ROLE ingest_login LOGIN PASSWORD :'ingest' IN ROLE hyrelog_ingest;
CREATE ROLE api_login LOGIN PASSWORD :'api' IN ROLE hyrelog_api;
CREATE ROLE relay_login LOGIN PASSWORD :'relay' IN ROLE hyrelog_relay;
CREATE ROLE search_login LOGIN PASSWORD :'search' IN ROLE hyrelog_search;
CREATE ROLE webhooks_login LOGIN PASSWORD :'webhooks' IN ROLE hyrelog_webhooks;
CREATE ROLE scheduler_login LOGIN PASSWORD :'scheduler' IN ROLE hyrelog_scheduler;
CREATE ROLE archiver_login LOGIN PASSWORD :'archiver' IN ROLE hyrelog_archiver;
CREATE ROLE admin_login LOGIN PASSWORD :'admin' IN ROLE hyrelog_admin;
CREATE DATABASE hyrelog_us OWNER hyrelog_owner;
CREATE DATABASE hyrelog_eu OWNER hyrelog_owner;
CREATE DATABASE hyrelog_uk OWNER hyrelog_owner;
CREATE DATABASE hyrelog_au OWNER hyrelog_owner;
SQL
