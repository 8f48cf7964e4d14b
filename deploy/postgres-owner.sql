-- Run once, when the database server is made: the gateway's login owns its database, and is no superuser.
\getenv password POSTGRES_PASSWORD
CREATE ROLE gateway LOGIN PASSWORD :'password';
CREATE ROLE gateway_tenant NOLOGIN NOINHERIT;
GRANT gateway_tenant TO gateway WITH SET TRUE;
CREATE DATABASE gateway OWNER gateway TEMPLATE template0 ENCODING 'UTF8';
-- The superuser gets in from inside the container only, where no password is asked for.
ALTER ROLE CURRENT_USER PASSWORD NULL;
