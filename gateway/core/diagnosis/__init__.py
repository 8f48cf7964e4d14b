"""What `gateway doctor` says of the facts that it measured; each module judges one part of Postgres."""
