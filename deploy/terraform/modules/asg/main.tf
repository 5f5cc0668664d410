# The gateway as a systemd service on instances, for those who run no containers: the same binary, the
# unit of deploy/systemd, the configuration and the secrets fetched at the start by the instance's role.

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  unit = file("${path.module}/../../../systemd/sluice.service")

  settings = merge({
    SLUICE_EDGE__LISTEN          = "0.0.0.0:${var.ports.public}"
    SLUICE_EDGE__PUBLIC_URL      = var.public_url
    SLUICE_EDGE__TRUSTED_PROXIES = join(",", var.load_balancer_cidrs)
    SLUICE_EDGE__TLS__CERT       = "file:/etc/sluice/secrets/tls-cert"
    SLUICE_EDGE__TLS__KEY        = "file:/etc/sluice/secrets/tls-key"
    SLUICE_ADMIN__LISTEN         = "0.0.0.0:${var.ports.admin}"
    SLUICE_ADMIN__TLS__CERT      = "file:/etc/sluice/secrets/tls-cert"
    SLUICE_ADMIN__TLS__KEY       = "file:/etc/sluice/secrets/tls-key"
    SLUICE_ADMIN__SCRAPE_TOKEN   = "file:/etc/sluice/secrets/scrape-token"
    SLUICE_DATABASE__URL         = var.database_url
    SLUICE_DATABASE__DATA_DIR    = "/var/lib/sluice"
    SLUICE_TELEMETRY__FORMAT     = "json"
  }, var.settings)

  user_data = templatefile("${path.module}/start.sh.tftpl", {
    region          = data.aws_region.current.name
    release         = var.release
    configuration   = var.configuration
    unit            = base64encode(local.unit)
    settings        = local.settings
    secrets         = var.secrets
    database_secret = var.database_secret_arn
  })
}

resource "aws_launch_template" "this" {
  name_prefix            = "${var.name}-"
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = [var.security_group_id]
  update_default_version = true
  user_data              = base64encode(local.user_data)
  tags                   = var.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = var.root_device

    ebs {
      volume_size           = 20
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(var.tags, { Name = var.name })
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(var.tags, { Name = var.name })
  }
}

resource "aws_autoscaling_group" "this" {
  name                      = var.name
  vpc_zone_identifier       = var.private_subnet_ids
  min_size                  = var.min_instances
  max_size                  = var.max_instances
  health_check_type         = "ELB"
  health_check_grace_period = 180
  target_group_arns         = [var.target_group_arn]
  default_instance_warmup   = 60

  # The password of the database is read at the first start and ends with the second rotation after it: no
  # instance lives that long, though nobody remembers to replace it.
  max_instance_lifetime = floor(var.rotation_days / 4) * 86400

  # A new one first: without it, AWS ends an instance of that age before it starts another.
  instance_maintenance_policy {
    min_healthy_percentage = 100
    max_healthy_percentage = 200
  }

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 200
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = merge(var.tags, { Name = var.name })
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }
}

resource "aws_autoscaling_policy" "cpu" {
  name                   = "${var.name}-cpu"
  autoscaling_group_name = aws_autoscaling_group.this.name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value = 50

    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
  }
}

data "aws_iam_policy_document" "instances" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "${var.name}-instance"
  assume_role_policy = data.aws_iam_policy_document.instances.json
  tags               = var.tags
}

# Of all that runs on the instance: the script of the start, the gateway, an agent (README).
data "aws_iam_policy_document" "this" {
  source_policy_documents = var.artifacts == null ? [] : [var.artifacts.policy_json]

  statement {
    sid       = "ReleaseAndConfiguration"
    actions   = ["s3:GetObject"]
    resources = [for it in [var.release, var.configuration] : "arn:aws:s3:::${it.bucket}/${it.key}"]
  }

  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = concat([var.database_secret_arn], values(var.secrets))
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

  dynamic "statement" {
    for_each = var.log_group == null ? [] : [var.log_group]
    content {
      sid       = "Log"
      actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      resources = ["arn:aws:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:log-group:${statement.value}:*"]
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "run"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

# A shell without an open port and without a key, and no more: AWS's own AmazonSSMManagedInstanceCore lets
# whoever is on the instance read each parameter of the account.
data "aws_iam_policy_document" "session_manager" {
  # checkov:skip=CKV_AWS_356: these actions take no resource
  # checkov:skip=CKV_AWS_111: as above
  statement {
    sid = "SessionManager"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "session_manager" {
  name   = "session-manager"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.session_manager.json
}

resource "aws_iam_instance_profile" "this" {
  name = "${var.name}-instance"
  role = aws_iam_role.this.name
  tags = var.tags
}
