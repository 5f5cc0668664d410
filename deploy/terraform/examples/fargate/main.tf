# A gateway on Fargate with a database in two zones, secrets, artifacts and alarms, in a network that
# is there already.

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

variable "image" {
  description = "The image with the configuration, by digest."
  type        = string
}

variable "repository_arn" {
  description = "The image's ECR repository."
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
  description = "Who is told; its policy must let CloudWatch and EventBridge publish (README)."
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
  names                      = ["tls-cert", "tls-key", "scrape-token", "acme-stripe", "acme-llm"]
  vpc_id                     = var.vpc_id
  private_subnet_ids         = var.private_subnet_ids
  database_security_group_id = module.database.security_group_id
  master_secret_arn          = module.database.master_secret_arn
  master_secret_kms_key_arn  = module.database.master_secret_kms_key_arn
  rotate                     = var.rotate
}

module "artifacts" {
  source      = "../../modules/artifacts"
  bucket      = var.artifacts_bucket
  kms_key_arn = var.kms_key_arn
}

module "service" {
  source              = "../../modules/service"
  name                = module.sizing.name
  image               = var.image
  repository_arn      = var.repository_arn
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
  logs_kms_key_arn    = var.kms_key_arn
  task_cpu            = module.sizing.task_cpu
  task_memory         = module.sizing.task_memory
  min_tasks           = module.sizing.min_tasks
  max_tasks           = module.sizing.max_tasks

  artifacts = {
    policy_json = module.artifacts.policy_json
  }

  settings = {
    SLUICE_ARTIFACTS__STORE = "s3://${var.artifacts_bucket}"
  }

  # In the tenant's file: secrets = [{ ref = "aws-sm:sluice-production/acme-stripe", overlap = "24h" }]. The gateway
  # reads it itself and again: a rotation needs no new task.
  readable_secret_arns = [module.secrets.arns["acme-stripe"]]

  # As `env:ACME_LLM`: handed over when a task starts.
  secrets = {
    SLUICE_TLS_CERT     = module.secrets.arns["tls-cert"]
    SLUICE_TLS_KEY      = module.secrets.arns["tls-key"]
    SLUICE_SCRAPE_TOKEN = module.secrets.arns["scrape-token"]
    ACME_LLM            = module.secrets.arns["acme-llm"]
  }
}

module "alarms" {
  source               = "../../modules/alarms"
  name                 = module.sizing.name
  topic_arn            = var.alarm_topic_arn
  load_balancer_suffix = module.edge.load_balancer_suffix
  target_group_suffix  = module.edge.target_group_suffix
  database_identifier  = module.database.identifier
  log_group            = module.service.log_group
  restarts             = module.service.restarts
}

output "point_the_name_at" {
  description = "An alias record of the host name."
  value       = module.edge.dns_name
}

output "migrate" {
  description = "Before a release whose schema is newer."
  value       = module.service.migrate
}
