# Secrets as empty shells: their values are put in by hand or by rotation and never pass through
# Terraform, whose state would keep them.

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "key" {
  # checkov:skip=CKV_AWS_109: a key policy names its own key; the account's policies decide who may
  # checkov:skip=CKV_AWS_111: as above
  # checkov:skip=CKV_AWS_356: in a key policy `*` is the key itself
  statement {
    sid       = "AccountDecides"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }
}

resource "aws_kms_key" "this" {
  description         = "Secrets of ${var.name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
  tags                = var.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}-secrets"
  target_key_id = aws_kms_key.this.key_id
}

# Signing secrets of vendors, keys of LLMs and sites. Who rotates them is the vendor's console: put the
# new value in (`sluice secret rotate` does). An entry by `aws-sm:` with an `overlap` takes both meanwhile;
# with `env:` or `file:` list both in the tenant's file until the old one is silent.
resource "aws_secretsmanager_secret" "named" {
  # checkov:skip=CKV2_AWS_57: no machine can rotate them; docs/runbooks/rotate-a-secret.md says how people do
  for_each                = var.names
  name                    = "${var.name}/${each.value}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30
  tags                    = var.tags
}

# Who the gateway is at the database: {"username", "password", "host", "port", "dbname", "engine",
# "masterarn"}, the form that AWS's rotation functions read and write.
resource "aws_secretsmanager_secret" "database" {
  name                    = "${var.name}/database"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30
  tags                    = var.tags
}

resource "aws_security_group" "rotation" {
  # checkov:skip=CKV2_AWS_5: the stack below attaches it to its function
  name        = "${var.name}-rotation"
  description = "The function that rotates the password of the database"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_egress_rule" "secrets" {
  security_group_id = aws_security_group.rotation.id
  description       = "To Secrets Manager, and to the API of RDS, which says where the administrator's database is"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.rotation.id
  description                  = "To the database"
  referenced_security_group_id = var.database_security_group_id
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = var.database_security_group_id
  description                  = "From the function that rotates the password"
  referenced_security_group_id = aws_security_group.rotation.id
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}

data "aws_region" "current" {}

# AWS's own function for two users in turn: the password of before stays valid until the next rotation,
# so that what runs goes on until it is started anew. It reads two secrets, which different keys encrypt;
# its role may use both. The parameters are called as AWS's CDK calls them for this very application.
resource "aws_serverlessapplicationrepository_cloudformation_stack" "rotation" {
  name           = "${var.name}-rotation"
  application_id = "arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationMultiUser"
  capabilities   = ["CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY"]
  tags           = var.tags

  parameters = {
    functionName          = "${var.name}-rotation"
    endpoint              = "https://secretsmanager.${data.aws_region.current.name}.amazonaws.com"
    vpcSubnetIds          = join(",", var.private_subnet_ids)
    vpcSecurityGroupIds   = aws_security_group.rotation.id
    kmsKeyArn             = aws_kms_key.this.arn
    masterSecretArn       = var.master_secret_arn
    masterSecretKmsKeyArn = var.master_secret_kms_key_arn
  }
}

# Not before the secret has its first value, which is put in by hand (README): Secrets Manager tries the
# function when rotation is set up, also where it does not rotate at once, and an empty secret fails it.
resource "aws_secretsmanager_secret_rotation" "database" {
  count               = var.rotate ? 1 : 0
  secret_id           = aws_secretsmanager_secret.database.id
  rotation_lambda_arn = aws_serverlessapplicationrepository_cloudformation_stack.rotation.outputs["RotationLambdaARN"]
  rotate_immediately  = false

  rotation_rules {
    automatically_after_days = var.rotation_days
  }
}
