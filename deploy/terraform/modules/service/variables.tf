variable "name" {
  description = "Prefix of every name (module sizing)."
  type        = string
}

variable "image" {
  description = "The image, by digest: ours with your configuration in /etc/sluice (deploy/container)."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest (NAME@sha256:…): a tag can change under a running service."
  }
}

variable "repository_arn" {
  description = "The ECR repository of the image."
  type        = string
}

variable "cpu_architecture" {
  description = "ARM64 or X86_64, as the image was built."
  type        = string
  default     = "ARM64"
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks, with a way out to what actions call."
  type        = list(string)
}

variable "security_group_id" {
  description = "The gateway's (module edge)."
  type        = string
}

variable "target_group_arn" {
  description = "Where the tasks are registered (module edge)."
  type        = string
}

variable "ports" {
  description = "Where the gateway listens (module edge)."
  type        = object({ public = number, admin = number })
}

variable "load_balancer_cidrs" {
  description = "Networks of the load balancer's subnets: their word about clients is believed."
  type        = list(string)
}

variable "public_url" {
  description = "What vendors call; HubSpot and Twilio sign it."
  type        = string
}

variable "database_url" {
  description = "Without a password (module database)."
  type        = string
}

variable "database_secret_arn" {
  description = "The database's credentials as JSON (module secrets)."
  type        = string
}

variable "rotation_days" {
  description = "Days between two passwords of the database (module secrets). Tasks start anew four times in that time."
  type        = number

  validation {
    condition     = var.rotation_days >= 4 && var.rotation_days <= 1000
    error_message = "4 to 1000 days: the gateway starts anew four times as often, and not more than once a day."
  }
}

variable "secrets" {
  description = "Environment variable to the ARN of a secret, or `ARN:KEY::` for a key of its JSON. SLUICE_TLS_CERT, SLUICE_TLS_KEY and SLUICE_SCRAPE_TOKEN are needed."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["SLUICE_TLS_CERT", "SLUICE_TLS_KEY", "SLUICE_SCRAPE_TOKEN"] : contains(keys(var.secrets), name)])
    error_message = "SLUICE_TLS_CERT, SLUICE_TLS_KEY and SLUICE_SCRAPE_TOKEN are needed."
  }
}

variable "secrets_kms_key_arn" {
  description = "The key of the secrets (module secrets)."
  type        = string
}

variable "readable_secret_arns" {
  description = "Secrets that the gateway itself may read, for references of the form aws-sm:NAME."
  type        = list(string)
  default     = []
}

variable "artifacts" {
  description = "The bucket that the gateway itself may use (module artifacts); null for none."
  type        = object({ policy_json = string })
  default     = null
}

variable "settings" {
  description = "More overrides of the configuration, such as SLUICE_LIMITS__CONCURRENCY. Nothing secret."
  type        = map(string)
  default     = {}
}

variable "task_cpu" {
  description = "As module sizing says."
  type        = number
}

variable "task_memory" {
  description = "As module sizing says, in MiB."
  type        = number
}

variable "min_tasks" {
  description = "Tasks that always run."
  type        = number
}

variable "max_tasks" {
  description = "Tasks at most."
  type        = number
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365
}

variable "logs_kms_key_arn" {
  description = "Encrypts the log; its policy must let CloudWatch Logs use it."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
