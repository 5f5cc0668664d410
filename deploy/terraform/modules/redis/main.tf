# A Redis that `queue_publish` writes streams to. Its users are the caller's user group: a password
# that passed through Terraform would stay in its state.

resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnet_ids
  tags       = var.tags
}

resource "aws_security_group" "this" {
  name        = "${var.name}-redis"
  description = "Redis"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "gateway" {
  security_group_id            = aws_security_group.this.id
  description                  = "From the gateway"
  referenced_security_group_id = var.gateway_security_group_id
  from_port                    = 6379
  to_port                      = 6379
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  security_group_id            = var.gateway_security_group_id
  description                  = "To Redis"
  referenced_security_group_id = aws_security_group.this.id
  from_port                    = 6379
  to_port                      = 6379
  ip_protocol                  = "tcp"
}

# A stream that is full must refuse, not forget: the gateway tries again.
resource "aws_elasticache_parameter_group" "this" {
  name   = var.name
  family = "redis7"
  tags   = var.tags

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "this" {
  # checkov:skip=CKV_AWS_31: who may connect is decided by the user group, whose passwords stay out of Terraform's state
  replication_group_id       = var.name
  description                = "Streams of verified events of ${var.name}"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = var.node_type
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.this.id]
  user_group_ids             = [var.user_group_id]
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  snapshot_retention_limit   = 7
  auto_minor_version_upgrade = true
  apply_immediately          = false
  tags                       = var.tags
}
