output "cluster" {
  description = "The cluster's name."
  value       = aws_ecs_cluster.this.name
}

output "service" {
  description = "The service's name."
  value       = aws_ecs_service.this.name
}

output "restarts" {
  description = "What starts the service anew, for module alarms: the service, and the group of the schedule."
  value       = { service_arn = aws_ecs_service.this.id, schedule_group = aws_scheduler_schedule_group.this.name }
}

output "log_group" {
  description = "Where the log goes."
  value       = aws_cloudwatch_log_group.this.name
}

output "migrate" {
  description = "Run before a release whose schema is newer (docs/production.md)."
  value       = "aws ecs run-task --cluster ${aws_ecs_cluster.this.name} --task-definition ${aws_ecs_task_definition.this.family} --launch-type FARGATE --network-configuration 'awsvpcConfiguration={subnets=[${join(",", var.private_subnet_ids)}],securityGroups=[${var.security_group_id}]}' --overrides '{\"containerOverrides\":[{\"name\":\"sluice\",\"command\":[\"migrate\",\"--config\",\"/etc/sluice\"]}]}'"
}
