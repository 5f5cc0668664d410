# A plan by the provider itself, without AWS: what it reads from there is made up. Run where the
# provider can be had.
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_data "aws_subnet" {
    defaults = { cidr_block = "10.0.0.0/24" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  region             = "eu-central-1"
  environment        = "production"
  vpc_id             = "vpc-0123456789abcdef0"
  public_subnet_ids  = ["subnet-0a", "subnet-0b"]
  private_subnet_ids = ["subnet-1a", "subnet-1b"]
  host_name          = "hooks.example.com"
  certificate_arn    = "arn:aws:acm:eu-central-1:123456789012:certificate/0f0f0f0f-0000-4000-8000-000000000000"
  image              = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  repository_arn     = "arn:aws:ecr:eu-central-1:123456789012:repository/sluice"
  kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/0f0f0f0f-0000-4000-8000-000000000000"
  artifacts_bucket   = "example-sluice-artifacts"
  alarm_topic_arn    = "arn:aws:sns:eu-central-1:123456789012:alarms"
}

run "the_whole_example_can_be_planned" {
  command = plan

  assert {
    condition     = module.service.service == "sluice-production"
    error_message = "The service is called as module sizing says."
  }
  assert {
    condition     = length(setsubtract(["restart-refused", "restart-dropped", "failed-deployment-untold"], keys(module.alarms.arns))) == 0
    error_message = "Somebody is told when the service is not started anew."
  }
}
