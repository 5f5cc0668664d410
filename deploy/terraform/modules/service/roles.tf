# Three roles and no key: what starts the task may read its image, its secrets and write its log; what
# runs in it may do what the caller lists, and nothing by default; what starts the service anew may do that.

data "aws_iam_policy_document" "taken_by" {
  for_each = toset(["ecs-tasks", "scheduler"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.taken_by["ecs-tasks"].json
  tags               = var.tags
}

data "aws_iam_policy_document" "execution" {
  # checkov:skip=CKV_AWS_356: ecr:GetAuthorizationToken takes no resource
  statement {
    sid       = "Registry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
    resources = [var.repository_arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.secret_arns
  }

  statement {
    sid       = "SecretsKey"
    actions   = ["kms:Decrypt"]
    resources = [var.secrets_kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${data.aws_region.current.name}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "start"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  assume_role_policy = data.aws_iam_policy_document.taken_by["ecs-tasks"].json
  tags               = var.tags
}

data "aws_iam_policy_document" "task" {
  count                   = local.task_may_something ? 1 : 0
  source_policy_documents = var.artifacts == null ? [] : [var.artifacts.policy_json]

  dynamic "statement" {
    for_each = length(var.readable_secret_arns) == 0 ? [] : [var.readable_secret_arns]
    content {
      sid       = "SecretsByReference"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.readable_secret_arns) == 0 ? [] : [var.secrets_kms_key_arn]
    content {
      sid       = "SecretsKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${data.aws_region.current.name}.amazonaws.com"]
      }
    }
  }
}

locals {
  task_may_something = length(var.readable_secret_arns) > 0 || var.artifacts != null
}

resource "aws_iam_role_policy" "task" {
  count  = local.task_may_something ? 1 : 0
  name   = "run"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task[0].json
}

resource "aws_iam_role" "restart" {
  name               = "${var.name}-restart"
  assume_role_policy = data.aws_iam_policy_document.taken_by["scheduler"].json
  tags               = var.tags
}

# The image, the roles and the number of tasks stay those of the task definition: nothing is passed on.
data "aws_iam_policy_document" "restart" {
  statement {
    sid       = "StartAnew"
    actions   = ["ecs:UpdateService"]
    resources = [aws_ecs_service.this.id]
  }
}

resource "aws_iam_role_policy" "restart" {
  name   = "restart"
  role   = aws_iam_role.restart.id
  policy = data.aws_iam_policy_document.restart.json
}
