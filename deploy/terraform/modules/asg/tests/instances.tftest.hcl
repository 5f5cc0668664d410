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
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/made-up" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 1 }
  }
}

variables {
  name                = "sluice"
  image_id            = "ami-0123456789abcdef0"
  private_subnet_ids  = ["subnet-1a", "subnet-1b"]
  security_group_id   = "sg-0123456789abcdef0"
  target_group_arn    = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/sluice/0123456789abcdef"
  ports               = { public = 8443, admin = 8444 }
  load_balancer_cidrs = ["10.0.0.0/24"]
  public_url          = "https://hooks.example.com"
  release             = { bucket = "example-releases", key = "sluice", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
  configuration       = { bucket = "example-releases", key = "configuration.tar.gz", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
  database_url        = "postgres://db.example/sluice"
  database_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database"
  rotation_days       = 30
  secrets_kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/0f0f0f0f-0000-4000-8000-000000000000"
  kms_key_arn         = "arn:aws:kms:eu-central-1:123456789012:key/0f0f0f0f-0000-4000-8000-000000000000"
  secrets = {
    tls-cert     = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls-cert"
    tls-key      = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls-key"
    scrape-token = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:scrape"
  }
}

run "an_instance_is_replaced_well_before_its_password_ends" {
  assert {
    condition     = aws_autoscaling_group.this.max_instance_lifetime == 7 * 86400
    error_message = "Of 30 days between two passwords an instance lives 7."
  }
  assert {
    condition     = aws_autoscaling_group.this.instance_maintenance_policy[0].min_healthy_percentage == 100 && aws_autoscaling_group.this.max_size > aws_autoscaling_group.this.min_size
    error_message = "The new instance is there before the old one goes."
  }
}

run "passwords_that_end_before_a_replacement_are_refused" {
  command = plan
  variables { rotation_days = 3 }
  expect_failures = [var.rotation_days]
}

run "an_instance_reads_no_parameters_of_the_account" {
  assert {
    condition     = [for it in data.aws_iam_policy_document.session_manager.statement : it.actions] == [toset(["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"])]
    error_message = "Session Manager's channels and no more."
  }
  assert {
    condition     = alltrue([for it in data.aws_iam_policy_document.this.statement : !contains(it.resources, "*")])
    error_message = "Whatever else the role may is about something that is named."
  }
  assert {
    condition     = !contains([for it in data.aws_iam_policy_document.this.statement : it.sid], "Log")
    error_message = "Without a log group it writes none."
  }
}

run "an_agent_writes_into_the_log_group_that_is_named" {
  variables { log_group = "/sluice/sluice" }
  assert {
    condition     = [for it in data.aws_iam_policy_document.this.statement : it.resources if it.sid == "Log"] == [toset(["arn:aws:logs:eu-central-1:123456789012:log-group:/sluice/sluice:*"])]
    error_message = "This log group and no other."
  }
}
