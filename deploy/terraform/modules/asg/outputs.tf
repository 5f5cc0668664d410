output "group" {
  description = "The autoscaling group's name."
  value       = aws_autoscaling_group.this.name
}

output "role_arn" {
  description = "The instances' role."
  value       = aws_iam_role.this.arn
}
