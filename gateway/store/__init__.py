"""Every statement of SQL. Functions take a transaction first and never commit.

SQLAlchemy holds the schema, the pool and the transactions. The statements are written out and go
to the driver as they stand: most work on arrays of rows, and what one reads here is what one finds
in the database's own logs.
"""
