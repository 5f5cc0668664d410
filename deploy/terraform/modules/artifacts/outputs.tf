output "policy_json" {
  description = "What the gateway may do in it, for modules service and asg."
  value       = data.aws_iam_policy_document.use.json
}

output "bucket" {
  description = "Its name."
  value       = aws_s3_bucket.this.id
}
