output "url" {
  description = "For `database.url`: without user and password, which come from Secrets Manager as PGUSER and PGPASSWORD. Whoever of the two users it is, tables are the role sluice's."
  value       = "postgres://${aws_db_instance.this.endpoint}/sluice?sslmode=verify-full&sslrootcert=/etc/sluice/rds.pem&options%5Brole%5D=sluice"
}

output "identifier" {
  description = "The dimension DBInstanceIdentifier of its metrics."
  value       = aws_db_instance.this.identifier
}

output "security_group_id" {
  description = "The database's."
  value       = aws_security_group.this.id
}

output "master_secret_arn" {
  description = "The administrator's secret, which RDS keeps and rotates."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "master_secret_kms_key_arn" {
  description = "The key of that secret."
  value       = var.kms_key_arn
}
