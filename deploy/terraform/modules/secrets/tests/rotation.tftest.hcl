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
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/5ec5ec5e-0000-4000-8000-000000000000" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:made-up" }
  }
  mock_resource "aws_serverlessapplicationrepository_cloudformation_stack" {
    defaults = { outputs = { RotationLambdaARN = "arn:aws:lambda:eu-central-1:123456789012:function:sluice-rotation" } }
  }
}

variables {
  name                       = "sluice"
  names                      = ["tls-cert", "tls-key", "scrape-token"]
  vpc_id                     = "vpc-0123456789abcdef0"
  private_subnet_ids         = ["subnet-1a", "subnet-1b"]
  database_security_group_id = "sg-0123456789abcdef0"
  master_secret_arn          = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds-master"
  master_secret_kms_key_arn  = "arn:aws:kms:eu-central-1:123456789012:key/0f0f0f0f-0000-4000-8000-000000000000"
}

run "nothing_is_rotated_that_has_no_value_yet" {
  assert {
    condition     = length(aws_secretsmanager_secret_rotation.database) == 0
    error_message = "Rotation waits to be asked for."
  }
}

run "the_function_may_use_the_keys_of_both_secrets_that_it_reads" {
  variables { rotate = true }
  assert {
    condition     = aws_serverlessapplicationrepository_cloudformation_stack.rotation.parameters.kmsKeyArn == aws_kms_key.this.arn
    error_message = "The key of the secret that is rotated."
  }
  assert {
    condition     = aws_serverlessapplicationrepository_cloudformation_stack.rotation.parameters.masterSecretArn == var.master_secret_arn && aws_serverlessapplicationrepository_cloudformation_stack.rotation.parameters.masterSecretKmsKeyArn == var.master_secret_kms_key_arn
    error_message = "The administrator's secret, and its own key."
  }
  assert {
    condition     = one(aws_secretsmanager_secret_rotation.database).rotation_lambda_arn == "arn:aws:lambda:eu-central-1:123456789012:function:sluice-rotation" && one(one(aws_secretsmanager_secret_rotation.database).rotation_rules).automatically_after_days == output.rotation_days
    error_message = "Rotated by that function, as often as the gateway is told."
  }
}
