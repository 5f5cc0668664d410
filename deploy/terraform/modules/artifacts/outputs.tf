output "arn" {
  description = "For the role that may read and write it."
  value       = aws_s3_bucket.this.arn
}

output "bucket" {
  description = "Its name."
  value       = aws_s3_bucket.this.id
}
