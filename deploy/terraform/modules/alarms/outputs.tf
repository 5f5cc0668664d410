output "arns" {
  description = "The alarms, by name."
  value       = { for name, alarm in merge(aws_cloudwatch_metric_alarm.this, aws_cloudwatch_metric_alarm.restart) : name => alarm.arn }
}
