output "arns" {
  description = "By name: what a role may read and ECS hands over."
  value       = { for name, secret in aws_secretsmanager_secret.named : name => secret.arn }
}

output "database_arn" {
  description = "The database's credentials, as JSON."
  value       = aws_secretsmanager_secret.database.arn
}

output "kms_key_arn" {
  description = "The key that they are encrypted with."
  value       = aws_kms_key.this.arn
}

output "rotation_days" {
  description = "For modules service and asg."
  value       = var.rotation_days
}
