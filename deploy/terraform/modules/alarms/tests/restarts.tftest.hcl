# Applied by the provider's schema alone: what AWS would say is made up. Run where the provider can be had.
mock_provider "aws" {}

variables {
  name                 = "sluice"
  topic_arn            = "arn:aws:sns:eu-central-1:123456789012:alarms"
  load_balancer_suffix = "app/sluice/0123456789abcdef"
  target_group_suffix  = "targetgroup/sluice/0123456789abcdef"
  database_identifier  = "sluice"
  log_group            = "/sluice/sluice"
  restarts             = { service_arn = "arn:aws:ecs:eu-central-1:123456789012:service/sluice/sluice", schedule_group = "restarts" }
}

run "a_restart_that_does_not_begin_is_told" {
  assert {
    condition = {
      for name in ["restart-refused", "restart-dropped"] : name => [
        aws_cloudwatch_metric_alarm.restart[name].namespace,
        aws_cloudwatch_metric_alarm.restart[name].metric_name,
        aws_cloudwatch_metric_alarm.restart[name].dimensions,
      ]
      } == {
      restart-refused = ["AWS/Scheduler", "TargetErrorCount", tomap({ ScheduleGroup = "restarts" })]
      restart-dropped = ["AWS/Scheduler", "InvocationDroppedCount", tomap({ ScheduleGroup = "restarts" })]
    }
    error_message = "The scheduler counts by group."
  }
  assert {
    condition     = alltrue([for it in aws_cloudwatch_metric_alarm.restart : it.threshold == 0 && it.evaluation_periods == 1 && it.statistic == "Sum"])
    error_message = "One failure is enough."
  }
  assert {
    condition     = alltrue([for it in aws_cloudwatch_metric_alarm.restart : it.alarm_actions == toset([var.topic_arn]) && length(coalesce(it.ok_actions, [])) == 0])
    error_message = "People are told, and never that it is over: an hour without another failure is no restart."
  }
}

run "a_restart_that_is_rolled_back_is_told" {
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.failed_deployment[0].event_pattern) == {
      source      = ["aws.ecs"]
      detail-type = ["ECS Deployment State Change"]
      resources   = [var.restarts.service_arn]
      detail      = { eventName = ["SERVICE_DEPLOYMENT_FAILED"] }
    }
    error_message = "Failed deployments of this service, and no other event."
  }
  assert {
    condition     = aws_cloudwatch_event_target.failed_deployment[0].rule == aws_cloudwatch_event_rule.failed_deployment[0].name && aws_cloudwatch_event_target.failed_deployment[0].arn == var.topic_arn
    error_message = "The topic gets the event."
  }
  assert {
    condition = [
      aws_cloudwatch_metric_alarm.restart["failed-deployment-untold"].namespace,
      aws_cloudwatch_metric_alarm.restart["failed-deployment-untold"].metric_name,
      aws_cloudwatch_metric_alarm.restart["failed-deployment-untold"].dimensions,
    ] == ["AWS/Events", "FailedInvocations", tomap({ RuleName = aws_cloudwatch_event_rule.failed_deployment[0].name })]
    error_message = "A topic that refuses the event is told of by the other way."
  }
}

run "without_the_service_there_is_nothing_to_watch" {
  variables { restarts = null }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.restart) + length(aws_cloudwatch_event_rule.failed_deployment) + length(aws_cloudwatch_event_target.failed_deployment) == 0
    error_message = "Instances are replaced by their group."
  }
}
