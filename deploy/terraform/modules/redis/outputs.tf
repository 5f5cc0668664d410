output "url" {
  description = "For queue_publish, without a password."
  value       = "rediss://${aws_elasticache_replication_group.this.primary_endpoint_address}:6379"
}
