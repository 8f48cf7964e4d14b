"""The screens about webhooks: deliveries, endpoints, signatures, dead letters, bulk operations."""
