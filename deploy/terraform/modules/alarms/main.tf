# What AWS itself can see. What only the gateway knows (dead letters, breakers, signatures) is alarmed
# by Prometheus, with the rules in deploy/prometheus.

locals {
  edge     = { LoadBalancer = var.load_balancer_suffix }
  gateway  = { LoadBalancer = var.load_balancer_suffix, TargetGroup = var.target_group_suffix }
  database = { DBInstanceIdentifier = var.database_identifier }
  own      = { LogGroup = var.log_group }

  alarms = {
    no-healthy-gateway = {
      says       = "fewer than two gateways are ready; one more and deliveries are refused"
      namespace  = "AWS/ApplicationELB", metric = "HealthyHostCount", statistic = "Minimum", dimensions = local.gateway
      comparison = "LessThanThreshold", threshold = 2, minutes = 3, missing = "breaching"
    }
    gateway-5xx = {
      says       = "gateways answer 5xx: the store does not answer, or they are overloaded; vendors will send again"
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum", dimensions = local.gateway
      comparison = "GreaterThanThreshold", threshold = 10, minutes = 5, missing = "notBreaching"
    }
    edge-5xx = {
      says       = "the load balancer answers 5xx by itself: no gateway could be reached"
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum", dimensions = local.edge
      comparison = "GreaterThanThreshold", threshold = 5, minutes = 5, missing = "notBreaching"
    }
    slow-answers = {
      says       = "deliveries wait more than a second for their answer; Slack gives up at three"
      namespace  = "AWS/ApplicationELB", metric = "TargetResponseTime", statistic = "p99", dimensions = local.gateway
      comparison = "GreaterThanThreshold", threshold = 1, minutes = 5, missing = "notBreaching"
    }
    database-cpu = {
      says       = "the database is near its limit"
      namespace  = "AWS/RDS", metric = "CPUUtilization", statistic = "Average", dimensions = local.database
      comparison = "GreaterThanThreshold", threshold = 80, minutes = 15, missing = "breaching"
    }
    database-disk = {
      says       = "less than 10 GiB are free: retention is behind, or growth is at its maximum; a full disk refuses deliveries"
      namespace  = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum", dimensions = local.database
      comparison = "LessThanThreshold", threshold = 10737418240, minutes = 5, missing = "breaching"
    }
    database-memory = {
      says       = "less than 256 MiB of memory are free on the database"
      namespace  = "AWS/RDS", metric = "FreeableMemory", statistic = "Minimum", dimensions = local.database
      comparison = "LessThanThreshold", threshold = 268435456, minutes = 15, missing = "breaching"
    }
    errors-logged = {
      says       = "gateways log errors"
      namespace  = "Sluice/${var.name}", metric = "ErrorsLogged", statistic = "Sum", dimensions = null
      comparison = "GreaterThanThreshold", threshold = 0, minutes = 5, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  dimensions          = each.value.dimensions
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]
  tags                = var.tags
}

# The word as the gateway writes it (src/telemetry/logs.rs): what is compared here knows no equal of another case.
resource "aws_cloudwatch_log_metric_filter" "errors" {
  name           = "${var.name}-errors"
  log_group_name = local.own.LogGroup
  pattern        = "{ $.level = \"error\" }"

  metric_transformation {
    name          = "ErrorsLogged"
    namespace     = "Sluice/${var.name}"
    value         = "1"
    default_value = "0"
  }
}

# The restarts of module service. One that fails is one data point in a week, and no later one says that it was made up
# for: one suffices, it may come late, and there is no all-clear.

locals {
  restarts = var.restarts == null ? tomap({}) : tomap({
    restart-refused = {
      says      = "ECS refuses to start the service anew; its tasks are locked out of the database when their password ends"
      namespace = "AWS/Scheduler", metric = "TargetErrorCount", dimension = "ScheduleGroup", value = var.restarts.schedule_group
    }
    restart-dropped = {
      says      = "the scheduler gave up to start the service anew; its tasks are locked out of the database when their password ends"
      namespace = "AWS/Scheduler", metric = "InvocationDroppedCount", dimension = "ScheduleGroup", value = var.restarts.schedule_group
    }
    failed-deployment-untold = {
      says      = "a deployment of the service failed, and the topic did not let EventBridge say so (README)"
      namespace = "AWS/Events", metric = "FailedInvocations", dimension = "RuleName", value = "${var.name}-failed-deployment"
    }
  })
}

resource "aws_cloudwatch_metric_alarm" "restart" {
  for_each            = local.restarts
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = "Sum"
  dimensions          = { (each.value.dimension) = each.value.value }
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 3600
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.topic_arn]
  tags                = var.tags
}

# A restart that ECS accepts and its circuit breaker rolls back leaves the old tasks. There is no metric of it.
resource "aws_cloudwatch_event_rule" "failed_deployment" {
  count       = var.restarts == null ? 0 : 1
  name        = "${var.name}-failed-deployment"
  description = "A deployment of the gateway failed: the tasks of before run on, and their password of the database ends"
  tags        = var.tags

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Deployment State Change"]
    resources   = [var.restarts.service_arn]
    detail      = { eventName = ["SERVICE_DEPLOYMENT_FAILED"] }
  })
}

# The topic is yours, and so is its policy (README).
resource "aws_cloudwatch_event_target" "failed_deployment" {
  count = var.restarts == null ? 0 : 1
  rule  = aws_cloudwatch_event_rule.failed_deployment[0].name
  arn   = var.topic_arn
}
