output "url" {
  description = "For queue_publish, without user and password: the secret that the route refers to has them too, rediss://USER:PASSWORD@HOST:6379."
  value       = "rediss://${aws_elasticache_replication_group.this.primary_endpoint_address}:6379"
}
