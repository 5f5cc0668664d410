# The gateway as a service of containers on Fargate.

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/sluice/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.logs_kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = var.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

locals {
  # What differs from the configuration in the image. None of it is secret.
  settings = merge({
    SLUICE_EDGE__LISTEN          = "0.0.0.0:${var.ports.public}"
    SLUICE_EDGE__PUBLIC_URL      = var.public_url
    SLUICE_EDGE__TRUSTED_PROXIES = join(",", var.load_balancer_cidrs)
    SLUICE_EDGE__TLS__CERT       = "env:SLUICE_TLS_CERT"
    SLUICE_EDGE__TLS__KEY        = "env:SLUICE_TLS_KEY"
    SLUICE_ADMIN__LISTEN         = "0.0.0.0:${var.ports.admin}"
    SLUICE_ADMIN__TLS__CERT      = "env:SLUICE_TLS_CERT"
    SLUICE_ADMIN__TLS__KEY       = "env:SLUICE_TLS_KEY"
    SLUICE_ADMIN__SCRAPE_TOKEN   = "env:SLUICE_SCRAPE_TOKEN"
    SLUICE_DATABASE__URL         = var.database_url
    SLUICE_DATABASE__DATA_DIR    = "/var/lib/sluice"
    SLUICE_TELEMETRY__FORMAT     = "json"
  }, var.settings)

  # ECS reads these with the execution role and hands them over as environment variables, which the
  # configuration refers to as `env:NAME`.
  secrets = merge({
    PGPASSWORD = "${var.database_secret_arn}:password::"
    # Alternates between two users with each rotation.
    PGUSER = "${var.database_secret_arn}:username::"
  }, var.secrets)

  # An ARN may name a key of the secret behind it; permissions are of the secret.
  secret_arns = toset([for it in values(local.secrets) : join(":", slice(split(":", it), 0, 7))])
}

resource "aws_ecs_task_definition" "this" {
  # checkov:skip=CKV_AWS_97: the volume is of the task and gone with it; nothing of EFS
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_cpu
  memory                   = var.task_memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  # The node's name and lock, and the token of its commands: of this task only.
  volume {
    name = "data"
  }

  container_definitions = jsonencode([{
    name                   = "sluice"
    image                  = var.image
    essential              = true
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    # The drain takes at most 2 + 10 + 25 + 10 s (docs/production.md).
    stopTimeout = 60
    command     = ["serve", "--config", "/etc/sluice"]

    environment = [for name, value in local.settings : { name = name, value = value }]
    secrets     = [for name, arn in local.secrets : { name = name, valueFrom = arn }]

    portMappings = [for port in [var.ports.public, var.ports.admin] : { containerPort = port, protocol = "tcp" }]
    mountPoints  = [{ sourceVolume = "data", containerPath = "/var/lib/sluice", readOnly = false }]
    ulimits      = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]

    linuxParameters = {
      capabilities = { drop = ["ALL"] }
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.this.name
        "awslogs-region"        = data.aws_region.current.name
        "awslogs-stream-prefix" = "sluice"
        "mode"                  = "non-blocking"
        "max-buffer-size"       = "16m"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  # checkov:skip=CKV_AWS_332: the platform changes under a plan and not by itself; 1.4.0 is the newest for Linux
  name                   = var.name
  cluster                = aws_ecs_cluster.this.id
  task_definition        = aws_ecs_task_definition.this.arn
  desired_count          = var.min_tasks
  launch_type            = "FARGATE"
  platform_version       = "1.4.0"
  enable_execute_command = false
  propagate_tags         = "SERVICE"
  tags                   = var.tags

  # Nodes are replaced one after the other; both releases share the database meanwhile (ADR 0011).
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = var.target_group_arn
    container_name   = "sluice"
    container_port   = var.ports.public
  }

  lifecycle {
    ignore_changes = [desired_count]
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
  tags               = var.tags
}

# Deliveries cost processor time, so that is what more tasks relieve. Jobs that wait for a callee's rate
# do not: the rate is divided among the nodes.
resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_out_cooldown = 30
    scale_in_cooldown  = 600

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

# Its metrics are of a group, not of a schedule: a group of its own, so that module alarms watches this one alone.
resource "aws_scheduler_schedule_group" "this" {
  name = var.name
  tags = var.tags
}

# The password of the database is read when a task starts and ends with the second rotation after it: tasks are
# replaced well before, though nobody remembers to. In hours, for a rate of one day is written otherwise.
resource "aws_scheduler_schedule" "restart" {
  # checkov:skip=CKV_AWS_297: it holds two names and no secret
  name                = "${var.name}-restart"
  group_name          = aws_scheduler_schedule_group.this.name
  description         = "Starts the gateway anew, task after task, before the password of the database ends"
  schedule_expression = "rate(${floor(var.rotation_days / 4) * 24} hours)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:aws:scheduler:::aws-sdk:ecs:updateService"
    role_arn = aws_iam_role.restart.arn

    input = jsonencode({
      Cluster            = aws_ecs_cluster.this.name
      Service            = aws_ecs_service.this.name
      ForceNewDeployment = true
    })
  }
}
