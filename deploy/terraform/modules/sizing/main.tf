# Names and sizes, without a provider, so that they can be tested without an account.
#
# The figures are those of docs/performance.md on two cores: about 1 ms of processor time in the
# gateway and 1 ms in Postgres for each delivery with one job. Half of what is bought is planned for.

terraform {
  required_version = ">= 1.9"
}

variable "name" {
  description = "Prefix of every name; a load balancer's may have 32 characters in all."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "Write 2 to 20 characters: lower-case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "deliveries_per_second" {
  description = "Deliveries a second in the busiest minute, each with about one job."
  type        = number

  validation {
    condition     = var.deliveries_per_second > 0 && var.deliveries_per_second <= 1000
    error_message = "Above 1000 a second nothing was measured: measure (scripts/loadtest), then size by hand."
  }
}

variable "zones" {
  description = "Availability zones in use; one task at least runs in each."
  type        = number
  default     = 2

  validation {
    condition     = var.zones >= 2 && floor(var.zones) == var.zones
    error_message = "A whole number from 2: one zone is one point of failure."
  }
}

locals {
  milliseconds_per_delivery = 1
  planned_share             = 0.5

  # CPU units of Fargate (1024 is one processor) that the busiest minute asks of all tasks together.
  wanted_cpu = ceil(var.deliveries_per_second * local.milliseconds_per_delivery / 1000 / local.planned_share * 1024)

  # One zone may be gone, and the rest must carry the load.
  cpu_per_task = ceil(local.wanted_cpu / (var.zones - 1))
  task_cpu     = [for cpu in [512, 1024, 2048, 4096] : cpu if cpu >= local.cpu_per_task || cpu == 4096][0]

  # 64 MiB of bodies peaked at 440 MiB resident; the lanes and pools of a busy node add less than that.
  task_memory = max(1024, local.task_cpu * 2)

  instance_classes = [
    { most = 50, class = "db.t4g.medium", gib = 50 },
    { most = 200, class = "db.m7g.large", gib = 100 },
    { most = 500, class = "db.m7g.xlarge", gib = 200 },
    { most = 1000, class = "db.m7g.2xlarge", gib = 400 },
  ]
  database = [for it in local.instance_classes : it if var.deliveries_per_second <= it.most][0]
}

output "name" {
  description = "The prefix, once it is known to be fit for a name."
  value       = var.name
}

output "task_cpu" {
  description = "CPU units of one Fargate task."
  value       = local.task_cpu
}

output "task_memory" {
  description = "MiB of one Fargate task."
  value       = local.task_memory
}

output "min_tasks" {
  description = "Tasks that always run: one in each zone."
  value       = var.zones
}

output "max_tasks" {
  description = "Tasks at most: twice what always runs, for deployments and peaks."
  value       = var.zones * 2
}

output "database_class" {
  description = "Instance class of the database."
  value       = local.database.class
}

output "database_gib" {
  description = "Storage to begin with. It grows by itself up to four times that."
  value       = local.database.gib
}
