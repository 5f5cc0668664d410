# A gateway as a systemd service on instances, with a database in two zones, secrets, artifacts, alarms,
# and a Redis for `queue_publish`, in a network that is there already.

provider "aws" {
  region = var.region

  default_tags {
    tags = { application = "sluice", environment = var.environment }
  }
}

variable "region" {
  description = "Where."
  type        = string
}

variable "environment" {
  description = "Such as `production`; part of every name."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "public_subnet_ids" {
  description = "For the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "For the gateway and the database."
  type        = list(string)
}

variable "host_name" {
  description = "What vendors call."
  type        = string
}

variable "certificate_arn" {
  description = "ACM certificate of that name."
  type        = string
}

variable "image_id" {
  description = "Of the instances (module asg says what it must have)."
  type        = string
}

variable "release" {
  description = "The binary in S3."
  type        = object({ bucket = string, key = string, sha256 = string })
}

variable "configuration" {
  description = "The configuration in S3."
  type        = object({ bucket = string, key = string, sha256 = string })
}

variable "redis_user_group_id" {
  description = "Users of Redis, made outside of Terraform."
  type        = string
}

variable "kms_key_arn" {
  description = "A key whose policy lets RDS, S3, ElastiCache and CloudWatch Logs use it, and leaves the rest to IAM."
  type        = string
}

variable "rotate" {
  description = "Whether the password of the database is rotated; true once its secret has a value."
  type        = bool
  default     = false
}

variable "artifacts_bucket" {
  description = "Name of the bucket to make."
  type        = string
}

variable "alarm_topic_arn" {
  description = "Who is told."
  type        = string
}

variable "deliveries_per_second" {
  description = "In the busiest minute."
  type        = number
  default     = 50
}

# Networks of the load balancer's subnets, whose word about clients the gateway believes.
data "aws_subnet" "public" {
  for_each = toset(var.public_subnet_ids)
  id       = each.value
}

module "sizing" {
  source                = "../../modules/sizing"
  name                  = "sluice-${var.environment}"
  deliveries_per_second = var.deliveries_per_second
  zones                 = length(var.private_subnet_ids)
}

module "edge" {
  source            = "../../modules/edge"
  name              = module.sizing.name
  vpc_id            = var.vpc_id
  public_subnet_ids = var.public_subnet_ids
  certificate_arn   = var.certificate_arn
  target_type       = "instance"
}

module "database" {
  source                    = "../../modules/database"
  name                      = module.sizing.name
  vpc_id                    = var.vpc_id
  private_subnet_ids        = var.private_subnet_ids
  gateway_security_group_id = module.edge.gateway_security_group_id
  instance_class            = module.sizing.database_class
  gib                       = module.sizing.database_gib
  kms_key_arn               = var.kms_key_arn
}

module "secrets" {
  source                     = "../../modules/secrets"
  name                       = module.sizing.name
  names                      = ["tls-cert", "tls-key", "scrape-token", "acme-stripe", "acme-llm", "acme-redis"]
  vpc_id                     = var.vpc_id
  private_subnet_ids         = var.private_subnet_ids
  database_security_group_id = module.database.security_group_id
  master_secret_arn          = module.database.master_secret_arn
  master_secret_kms_key_arn  = module.database.master_secret_kms_key_arn
  rotate                     = var.rotate
}

# For an agent of yours, in the image: the instances' role may write here. It must ship the message of each line
# of the journal as it is, for the alarm on errors looks into the gateway's own JSON.
resource "aws_cloudwatch_log_group" "this" {
  name              = "/sluice/${module.sizing.name}"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

module "redis" {
  source                    = "../../modules/redis"
  name                      = module.sizing.name
  vpc_id                    = var.vpc_id
  private_subnet_ids        = var.private_subnet_ids
  gateway_security_group_id = module.edge.gateway_security_group_id
  user_group_id             = var.redis_user_group_id
  kms_key_arn               = var.kms_key_arn
}

module "artifacts" {
  source      = "../../modules/artifacts"
  bucket      = var.artifacts_bucket
  kms_key_arn = var.kms_key_arn
}

module "instances" {
  source              = "../../modules/asg"
  name                = module.sizing.name
  image_id            = var.image_id
  release             = var.release
  configuration       = var.configuration
  private_subnet_ids  = var.private_subnet_ids
  security_group_id   = module.edge.gateway_security_group_id
  target_group_arn    = module.edge.target_group_arn
  ports               = module.edge.ports
  load_balancer_cidrs = [for subnet in data.aws_subnet.public : subnet.cidr_block]
  public_url          = "https://${var.host_name}"
  database_url        = module.database.url
  database_secret_arn = module.secrets.database_arn
  rotation_days       = module.secrets.rotation_days
  secrets_kms_key_arn = module.secrets.kms_key_arn
  kms_key_arn         = var.kms_key_arn
  log_group           = aws_cloudwatch_log_group.this.name
  min_instances       = module.sizing.min_tasks
  max_instances       = module.sizing.max_tasks

  artifacts = {
    policy_json = module.artifacts.policy_json
  }

  settings = {
    SLUICE_ARTIFACTS__STORE = "s3://${var.artifacts_bucket}"
  }

  # In the tenant's file: secrets = ["file:secrets/acme-stripe"], redis = { url = "file:secrets/acme-redis", stream = … }.
  secrets = module.secrets.arns
}

module "alarms" {
  source               = "../../modules/alarms"
  name                 = module.sizing.name
  topic_arn            = var.alarm_topic_arn
  load_balancer_suffix = module.edge.load_balancer_suffix
  target_group_suffix  = module.edge.target_group_suffix
  database_identifier  = module.database.identifier
  log_group            = aws_cloudwatch_log_group.this.name
}

output "point_the_name_at" {
  description = "An alias record of the host name."
  value       = module.edge.dns_name
}
