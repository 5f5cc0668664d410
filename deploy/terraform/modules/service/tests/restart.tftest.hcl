# Applied by the provider's schema alone: what AWS would say is made up. Run where the provider can be had.
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made-up" }
  }
  mock_resource "aws_ecs_service" {
    defaults = { id = "arn:aws:ecs:eu-central-1:123456789012:service/sluice/sluice" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/sluice:1" }
  }
}

variables {
  name                = "sluice"
  image               = "registry.example.com/sluice@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  repository_arn      = "arn:aws:ecr:eu-central-1:123456789012:repository/sluice"
  private_subnet_ids  = ["subnet-1a", "subnet-1b"]
  security_group_id   = "sg-0123456789abcdef0"
  target_group_arn    = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/sluice/0123456789abcdef"
  ports               = { public = 8443, admin = 8444 }
  load_balancer_cidrs = ["10.0.0.0/24"]
  public_url          = "https://hooks.example.com"
  database_url        = "postgres://db.example/sluice"
  database_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database"
  rotation_days       = 30
  secrets_kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/0f0f0f0f-0000-4000-8000-000000000000"
  logs_kms_key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/0f0f0f0f-0000-4000-8000-000000000000"
  task_cpu            = 512
  task_memory         = 1024
  min_tasks           = 2
  max_tasks           = 4
  secrets = {
    SLUICE_TLS_CERT     = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls-cert"
    SLUICE_TLS_KEY      = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls-key"
    SLUICE_SCRAPE_TOKEN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:scrape"
  }
}

run "the_service_starts_anew_well_before_its_password_ends" {
  assert {
    condition     = aws_scheduler_schedule.restart.schedule_expression == "rate(168 hours)"
    error_message = "Of 30 days between two passwords a task lives 7."
  }
  assert {
    condition     = aws_scheduler_schedule.restart.target[0].arn == "arn:aws:scheduler:::aws-sdk:ecs:updateService"
    error_message = "ECS is told to update the service."
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.restart.target[0].input) == { Cluster = aws_ecs_cluster.this.name, Service = aws_ecs_service.this.name, ForceNewDeployment = true }
    error_message = "This service is started anew, and nothing else of it changes."
  }
  assert {
    condition     = aws_scheduler_schedule.restart.group_name == "sluice" && output.restarts == { service_arn = aws_ecs_service.this.id, schedule_group = "sluice" }
    error_message = "The schedule is in a group of its own, which is told to whom watches it."
  }
}

run "who_starts_it_anew_may_do_nothing_else" {
  assert {
    condition     = aws_scheduler_schedule.restart.target[0].role_arn == aws_iam_role.restart.arn && aws_iam_role_policy.restart.role == aws_iam_role.restart.id
    error_message = "The schedule has the role made for it."
  }
  assert {
    condition     = [for it in data.aws_iam_policy_document.restart.statement : [it.actions, it.resources]] == [[toset(["ecs:UpdateService"]), toset([aws_ecs_service.this.id])]]
    error_message = "One action on one service."
  }
  assert {
    condition     = one(one(data.aws_iam_policy_document.taken_by["scheduler"].statement).principals).identifiers == toset(["scheduler.amazonaws.com"])
    error_message = "Nobody but the scheduler takes the role."
  }
}

run "a_task_does_not_live_as_long_as_its_password_at_the_shortest_period" {
  variables { rotation_days = 4 }
  assert {
    condition     = aws_scheduler_schedule.restart.schedule_expression == "rate(24 hours)"
    error_message = "Of 4 days between two passwords a task lives one."
  }
}

run "passwords_that_end_before_a_restart_are_refused" {
  command = plan
  variables { rotation_days = 3 }
  expect_failures = [var.rotation_days]
}
